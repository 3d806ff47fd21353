/* Text; see text.h. */
#include "plugins/common/text.h"

char
text_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
}

static int
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct ph_str
text_word(struct ph_str *rest)
{
	struct ph_str w;

	while (rest->n && is_blank(*rest->p))
		*rest = ph_bytes(rest->p + 1, rest->n - 1);
	w = ph_bytes(rest->p, 0);
	while (w.n < rest->n && !is_blank(w.p[w.n]))
		w.n++;
	*rest = ph_bytes(rest->p + w.n, rest->n - w.n);
	return w;
}

int
text_begins(struct ph_str s, const char *word)
{
	struct ph_str w = ph_c(word);

	return s.n >= w.n && ph_ieq(ph_bytes(s.p, w.n), w);
}

int
text_ends(struct ph_str s, struct ph_str word)
{
	return s.n >= word.n && ph_ieq(ph_bytes(s.p + (s.n - word.n), word.n), word);
}

struct ph_str
text_domain(struct ph_str address)
{
	for (size_t i = address.n; i-- > 0;)
		if (address.p[i] == '@')
			return ph_bytes(address.p + i + 1, address.n - i - 1);
	return ph_bytes(NULL, 0);
}

struct ph_str
text_local(struct ph_str address)
{
	struct ph_str domain = text_domain(address);

	return ph_bytes(address.p, domain.p ? address.n - domain.n - 1 : address.n);
}

size_t
text_clean(struct ph_str text, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n && n + 1 < size; i++)
		ret[n++] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
	ret[n] = 0;
	return n;
}

void
texts_read(struct ph_conf *conf, const char *option, struct texts *ret)
{
	struct ph_str text;

	for (ret->n = 0; (text = ph_option_item(conf, option, ret->n)).p; ret->v[ret->n++] = text)
		if (ret->n == TEXTS_MAX) {
			ph_conf_error(conf, option, "there are too many of them (256 at most)");
			return;
		}
}

int
texts_have_address(const struct texts *t, struct ph_str address)
{
	struct ph_str local = text_local(address);

	for (unsigned i = 0; i < t->n; i++)
		if (ph_ieq(t->v[i], address) || ph_ieq(t->v[i], local))
			return 1;
	return 0;
}
