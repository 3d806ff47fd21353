/* Reading log lines; see logfmt.h. */
#include "lib/base/logfmt.h"

#include "lib/base/text.h"

/* Behind the opening quote; *s is left behind the closing one. */
static void
quoted(struct str *s, struct buf *value)
{
	while (s->n && s->p[0] != '"') {
		char c = s->p[0];

		*s = str_skip(*s, 1);
		if (c != '\\' || !s->n) {
			buf_putc(value, c);
			continue;
		}
		c = s->p[0];
		*s = str_skip(*s, 1);
		if (c == 'n')
			buf_putc(value, '\n');
		else if (c == 'x' && s->n >= 2 && !hex_get(value, str_head(*s, 2)))
			*s = str_skip(*s, 2);
		else
			buf_putc(value, c);
	}
	*s = str_skip(*s, 1);
}

bool
logfmt_next(struct str *line, struct str *ret_key, struct buf *value)
{
	buf_clear(value);
	while (line->n) {
		size_t n = 0;

		if (ascii_isspace(line->p[0])) {
			*line = str_skip(*line, 1);
			continue;
		}
		while (n < line->n && line->p[n] != '=' && !ascii_isspace(line->p[n]))
			n++;
		*ret_key = str_head(*line, n);
		*line = str_skip(*line, n);
		if (!line->n || line->p[0] != '=')
			continue;
		*line = str_skip(*line, 1);
		if (line->n && line->p[0] == '"') {
			*line = str_skip(*line, 1);
			quoted(line, value);
		} else {
			for (n = 0; n < line->n && !ascii_isspace(line->p[n]); n++)
				;
			buf_str(value, str_head(*line, n));
			*line = str_skip(*line, n);
		}
		return true;
	}
	return false;
}
