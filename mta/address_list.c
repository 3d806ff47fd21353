/* Lists of where mail goes; see address_list.h. */
#include "mta/address_list.h"

#include <errno.h>

#include "lib/base/text.h"

#define ITEM_MAX 2048

/* Cuts the text up to the next comma or line end that is not within quotes. */
static struct str
cut_item(struct str *list)
{
	bool quoted = false;
	struct str item;
	size_t i = 0;

	for (; i < list->n; i++) {
		char c = list->p[i];

		if (c == '\\' && i + 1 < list->n)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == ',' || c == '\n'))
			break;
	}
	item = str_head(*list, i);
	*list = str_skip(*list, i + 1);
	return str_trim(item);
}

/* Whether one pair of quotes surrounds all of s. */
static bool
quoted_whole(struct str s)
{
	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return false;
	for (size_t i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '"')
			return false;
		if (s.p[i] == '\\' && ++i + 1 == s.n)
			return false;
	}
	return true;
}

/* Without surrounding quotes and the backslashes between them. */
static int
unquote(struct str s, struct arena *a, struct str *ret)
{
	char *p;
	size_t n = 0;

	*ret = s;
	if (!quoted_whole(s))
		return 0;
	p = arena_alloc(a, s.n);
	if (!p)
		return -ENOMEM;
	for (size_t i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		p[n++] = s.p[i];
	}
	*ret = str_from(p, n);
	return 0;
}

/* "Name <address>": the address. */
static struct str
in_brackets(struct str s)
{
	ptrdiff_t open = str_rchr(s, '<');

	if (open < 0 || s.p[s.n - 1] != '>')
		return s;
	return str_from(s.p + open + 1, s.n - (size_t)open - 2);
}

static int
take_address(struct str s, struct address_item *ret)
{
	bool quoted = false;

	s = in_brackets(s);
	if (s.n > 1 && s.p[0] == '\\')
		s = str_skip(s, 1);
	ret->kind = ADDRESS_MAIL;
	ret->text = s;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '\\')
			i++;
		else if (!quoted && (s.p[i] == ' ' || s.p[i] == '\t' || strchr("<>()[]:;", s.p[i])))
			return -EINVAL;
	}
	return s.n && !quoted ? 1 : -EINVAL;
}

static int
take_item(struct str raw, struct arena *a, struct address_item *ret)
{
	static const struct str include = STR_INIT(":include:");
	struct str s;
	int r;

	ret->text = str_head(raw, 200);
	if (raw.n > ITEM_MAX || ascii_has_control(raw))
		return -EINVAL;
	r = unquote(raw, a, &s);
	if (r)
		return r;
	if (s.n && s.p[0] == '|') {
		ret->kind = ADDRESS_COMMAND;
		r = unquote(str_trim(str_skip(s, 1)), a, &s);
	} else if (s.n && s.p[0] == '/') {
		ret->kind = ADDRESS_FILE;
	} else if (str_istarts(s, include)) {
		ret->kind = ADDRESS_INCLUDE;
		r = unquote(str_trim(str_skip(s, include.n)), a, &s);
		if (!r && (!s.n || s.p[0] != '/'))
			return -EINVAL;
	} else {
		r = take_address(s, ret); /* "user1@example.test" as user1@example.test, */
		return r > 0 || s.p == raw.p ? r : take_address(raw, ret); /* "two words" not */
	}
	if (r || !s.n)
		return r ? r : -EINVAL;
	ret->text = s;
	return 1;
}

int
address_list_next(struct str *list, struct arena *a, struct address_item *ret)
{
	while (list->n) {
		struct str raw = cut_item(list);

		if (raw.n)
			return take_item(raw, a, ret);
	}
	return 0;
}

bool
address_list_valid(struct str list, struct arena *a, struct str *ret_bad)
{
	struct address_item item;
	int r;

	while ((r = address_list_next(&list, a, &item)) > 0)
		;
	if (r < 0 && ret_bad)
		*ret_bad = item.text;
	return r == 0;
}
