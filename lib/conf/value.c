/* Values of settings; see value.h. Each type has a set function and a put
 * function side by side; the table at the end joins them to enum conf_type. */
#include "lib/conf/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "lib/base/text.h"
#include "lib/conf/rules.h"
#include "lib/conf/table.h"

#define LIST_MAX 4096

struct unit {
	const char *name;
	uint64_t factor;
};
static const struct unit sizes[] = {
	{ "B", 1 }, { "K", 1024 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { "T", 1ull << 40 },
};
static const struct unit times[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	{ "w", 604800000 },
};
#define N_OF(a) (sizeof(a) / sizeof *(a))

/* NUMBER UNIT; without a unit, the first of the list when bare is true. */
static int
unit_parse(struct str text, const struct unit *u, size_t n, bool bare, uint64_t *ret)
{
	size_t digits = 0;
	struct str unit;
	uint64_t v;

	while (digits < text.n && ascii_isdigit(text.p[digits]))
		digits++;
	if (digits == 0)
		return -EINVAL;
	if (!str_u64(str_head(text, digits), UINT64_MAX, &v))
		return -ERANGE;
	unit = str_skip(text, digits);
	if (unit.n == 0 && (bare || v == 0)) {
		*ret = v;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(unit, str_c(u[i].name)))
			continue;
		return __builtin_mul_overflow(v, u[i].factor, ret) ? -ERANGE : 0;
	}
	return -EINVAL;
}

static void
unit_put(struct buf *out, uint64_t v, const struct unit *u, size_t n, bool bare)
{
	size_t i = n - 1;

	while (i > 0 && (v == 0 || v % u[i].factor))
		i--;
	buf_u64(out, v / u[i].factor);
	if (v && !(bare && i == 0))
		buf_puts(out, u[i].name);
}

int
conf_size_parse(struct str text, uint64_t *ret)
{
	return unit_parse(text, sizes, N_OF(sizes), true, ret);
}

void
conf_size_put(struct buf *out, uint64_t bytes)
{
	unit_put(out, bytes, sizes, N_OF(sizes), true);
}

int
conf_time_parse(struct str text, uint64_t *ret)
{
	return unit_parse(text, times, N_OF(times), false, ret);
}

void
conf_time_put(struct buf *out, uint64_t ms)
{
	unit_put(out, ms, times, N_OF(times), false);
}

void
conf_quote(struct buf *out, struct str s)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '"' || c == '\\')
			buf_putc(out, '\\');
		if (c == '\n' || c == '\t')
			buf_puts(out, c == '\n' ? "\\n" : "\\t");
		else
			buf_putc(out, c);
	}
	buf_putc(out, '"');
}

/* A value on its way in. */
struct value {
	void *field;
	const struct conf_row *row;
	struct str text, dir;
	struct arena *arena;
	struct err *e;
};

static int
wrong(const struct value *v, const char *what)
{
	return err_set(v->e, -EINVAL, "'%.*s' is not %s", STR_ARG(str_head(v->text, 80)), what);
}

static int
no_memory(const struct value *v)
{
	return err_set(v->e, -EINVAL, "the configuration is too large");
}

static int
set_str(const struct value *v, struct str s)
{
	struct str copy = arena_dup(v->arena, s);

	if (!copy.p)
		return no_memory(v);
	*(struct str *)v->field = copy;
	return 0;
}

static int
text_set(const struct value *v)
{
	return set_str(v, v->text);
}

static void
text_put(struct buf *out, const void *field, const struct conf_row *row)
{
	conf_quote(out, *(const struct str *)field);
}

/* Text that needs no quotes. */
static void
bare_put(struct buf *out, const void *field, const struct conf_row *row)
{
	const struct str *s = field;

	buf_str(out, s->n ? *s : STR("none"));
}

/* One label: letters, digits, hyphens within, underscores, or UTF-8. */
static bool
is_label(struct str l)
{
	if (l.n == 0 || l.n > 63 || l.p[0] == '-' || l.p[l.n - 1] == '-')
		return false;
	for (size_t i = 0; i < l.n; i++)
		if (!ascii_isalnum(l.p[i]) && !strchr("-_", l.p[i]) &&
		    (unsigned char)l.p[i] < 0x80)
			return false;
	return true;
}

bool
conf_is_name(struct str text)
{
	struct str rest = text;

	if (text.n == 0 || text.n > 253 || memchr(text.p, 0, text.n) || !utf8_valid(text))
		return false;
	while (rest.p)
		if (!is_label(str_cut(&rest, '.')))
			return false;
	return true;
}

static int
lower_name(const struct value *v, struct str *ret)
{
	struct str copy = arena_dup(v->arena, v->text);
	char *p = (char *)copy.p;

	if (!copy.p)
		return no_memory(v);
	for (size_t i = 0; i < copy.n; i++)
		p[i] = ascii_lower(p[i]);
	*ret = copy;
	return 0;
}

static int
name_set(const struct value *v)
{
	if (!conf_is_name(v->text))
		return wrong(v, "a host name");
	return lower_name(v, v->field);
}

static int
path_set(const struct value *v)
{
	struct str p = v->text, joined;

	if (p.n == 0 || p.n > 4000 || memchr(p.p, 0, p.n))
		return wrong(v, "a path");
	if (p.p[0] == '/')
		return set_str(v, p);
	if (v->dir.n == 0)
		return err_set(v->e, -EINVAL, "the path '%.*s' must begin with '/'",
		    STR_ARG(str_head(p, 80)));
	while (str_starts(p, STR("./")))
		p = str_skip(p, 2);
	if (str_eq(p, STR(".")))
		return set_str(v, v->dir);
	joined = arena_printf(v->arena, "%.*s/%.*s", STR_ARG(v->dir), STR_ARG(p));
	if (!joined.p)
		return no_memory(v);
	*(struct str *)v->field = joined;
	return 0;
}

static int
optional_path_set(const struct value *v)
{
	if (str_eq(v->text, STR("none")))
		return set_str(v, STR(""));
	return path_set(v);
}

static int
user_set(const struct value *v)
{
	struct str s = v->text;
	/* empty: nobody changes uid, even when started as root */
	bool ok = s.n <= 20 && (!s.n || ascii_isalpha(s.p[0]) || s.p[0] == '_');

	for (size_t i = 0; ok && i < s.n; i++)
		ok = ascii_isalnum(s.p[i]) || strchr("_-", s.p[i]);
	return ok ? set_str(v, s) :
	    wrong(v, "the beginning of a user name (letters, digits, '-', '_'; at most 20)");
}

static int
delimiter_set(const struct value *v)
{
	if (str_eq(v->text, STR("none")))
		return set_str(v, STR(""));
	if (v->text.n != 1 || !strchr("+-_=!#%&~^/", v->text.p[0]))
		return wrong(v, "a delimiter (one of + - _ = ! # % & ~ ^ /, or 'none')");
	return set_str(v, v->text);
}

static int
mailbox_set(const struct value *v)
{
	ptrdiff_t at = str_rchr(v->text, '@');

	if (str_eq(v->text, STR("none")))
		return set_str(v, STR(""));
	if (!str_ieq(v->text, STR("postmaster")) && (at <= 0 || at > 64 ||
	    !conf_is_name(str_skip(v->text, (size_t)at + 1)) || str_chr(v->text, ' ') >= 0))
		return wrong(v, "a mail address, 'postmaster' or 'none'");
	return set_str(v, v->text);
}

static void
or_none_put(struct buf *out, const void *field, const struct conf_row *row)
{
	const struct str *s = field;

	if (s->n)
		conf_quote(out, *s);
	else
		buf_puts(out, "none");
}

static bool
is_address(struct str s)
{
	struct conf_net net;

	return conf_net_parse(s, &net) == 0 && str_chr(s, '/') < 0;
}

/* ADDRESS:PORT or [ADDRESS]:PORT. */
static bool
is_endpoint(struct str s)
{
	ptrdiff_t colon = str_rchr(s, ':');
	struct str addr;
	uint32_t port;

	if (colon < 0 || !str_u32(str_skip(s, (size_t)colon + 1), 65535, &port) || port == 0)
		return false;
	addr = str_head(s, (size_t)colon);
	if (addr.n > 2 && addr.p[0] == '[' && addr.p[addr.n - 1] == ']')
		return is_address(str_from(addr.p + 1, addr.n - 2)) && str_chr(addr, ':') > 0;
	return is_address(addr) && str_chr(addr, ':') < 0;
}

static int
endpoint_set(const struct value *v)
{
	if (str_chr(v->text, '/') >= 0 || str_eq(v->text, STR("none")))
		return optional_path_set(v);
	if (!is_endpoint(v->text))
		return wrong(v, "ADDRESS:PORT, the path of a socket, or 'none'");
	return set_str(v, v->text);
}

static int
address_set(const struct value *v)
{
	return is_address(v->text) ? set_str(v, v->text) : wrong(v, "an IP address");
}

static int
ip_set(const struct value *v)
{
	if (str_eq(v->text, STR("none")))
		return set_str(v, STR(""));
	return is_address(v->text) ? set_str(v, v->text) : wrong(v, "an IP address, or 'none'");
}

/* The place of text among "a|b|c", or -1. */
static int
word_place(const char *words, struct str text)
{
	struct str rest = str_c(words);

	for (int i = 0; rest.p; i++)
		if (str_eq(str_cut(&rest, '|'), text))
			return i;
	return -1;
}

static struct str
word_at(const char *words, unsigned place)
{
	struct str rest = str_c(words), w = STR_NULL;

	for (unsigned i = 0; rest.p && i <= place; i++)
		w = str_cut(&rest, '|');
	return w;
}

struct nth_word {
	const char *words;
	char word[32];
};

static const char *
nth_word(void *arg, size_t i)
{
	struct nth_word *w = arg;
	struct str s = str_c(w->words), word = STR_NULL;

	for (size_t k = 0; k <= i; k++) {
		if (!s.p)
			return NULL;
		word = str_cut(&s, '|');
	}
	if (word.n >= sizeof w->word)
		return NULL;
	memcpy(w->word, word.p, word.n);
	w->word[word.n] = 0;
	return w->word;
}

/* "'x' is none of a, b, c (did you mean 'a'?)" */
static int
no_such_word(const struct value *v, const char *words)
{
	struct nth_word w = { words };
	const char *near = conf_near(v->text, nth_word, &w);
	char list[200];
	size_t n = 0;

	for (size_t i = 0; words[i] && n < sizeof list - 3; i++) {
		list[n++] = words[i] == '|' ? ',' : words[i];
		if (words[i] == '|')
			list[n++] = ' ';
	}
	list[n] = 0;
	return err_set(v->e, -EINVAL, "'%.*s' is none of %s%s%s%s",
	    STR_ARG(str_head(v->text, 80)), list, near ? " (did you mean '" : "", near ? near : "",
	    near ? "'?)" : "");
}

static int
word_set(const struct value *v)
{
	if (word_place(v->row->words, v->text) < 0)
		return no_such_word(v, v->row->words);
	return set_str(v, v->text);
}

static int
choice_set(const struct value *v)
{
	int place = word_place(v->row->words, v->text);

	if (place < 0)
		return no_such_word(v, v->row->words);
	*(unsigned *)v->field = (unsigned)place;
	return 0;
}

static void
choice_put(struct buf *out, const void *field, const struct conf_row *row)
{
	buf_str(out, word_at(row->words, *(const unsigned *)field));
}

static int
flags_set(const struct value *v)
{
	unsigned *flags = v->field;
	int place;

	if (str_eq(v->text, STR("none")))
		return *flags ? err_set(v->e, -EINVAL, "'none' must stand alone") : 0;
	place = word_place(v->row->words, v->text);
	if (place < 0)
		return no_such_word(v, v->row->words);
	*flags |= 1u << place;
	return 0;
}

static void
flags_put(struct buf *out, const void *field, const struct conf_row *row)
{
	unsigned flags = *(const unsigned *)field;
	const char *between = "";

	if (!flags)
		buf_puts(out, "none");
	for (unsigned i = 0; flags >> i; i++) {
		if (!(flags >> i & 1))
			continue;
		buf_puts(out, between);
		buf_str(out, word_at(row->words, i));
		between = ", ";
	}
}

static int
switch_set(const struct value *v)
{
	int place = word_place("off|on", v->text);

	if (place < 0)
		return no_such_word(v, "on|off");
	*(bool *)v->field = place == 1;
	return 0;
}

static void
switch_put(struct buf *out, const void *field, const struct conf_row *row)
{
	buf_puts(out, *(const bool *)field ? "on" : "off");
}

static void
quantity_text(struct buf *out, const struct conf_row *row, uint64_t n)
{
	if (n == 0 && row->zero)
		buf_puts(out, row->zero);
	else if (row->type == CONF_T_SIZE)
		conf_size_put(out, n);
	else if (row->type == CONF_T_TIME)
		conf_time_put(out, n);
	else
		buf_u64(out, n);
}

static int
out_of_range(const struct value *v)
{
	char lo[32] = "", hi[32] = "";
	struct buf b = { .max = 64 };

	quantity_text(&b, v->row, v->row->min);
	memcpy(lo, b.p, b.n < sizeof lo ? b.n : 0);
	buf_clear(&b);
	quantity_text(&b, v->row, v->row->max);
	memcpy(hi, b.p, b.n < sizeof hi ? b.n : 0);
	buf_done(&b);
	if (v->row->max == 0)
		return err_set(v->e, -EINVAL, "'%.*s' is too %s", STR_ARG(str_head(v->text, 80)),
		    v->row->min ? "small or too large" : "large");
	return err_set(v->e, -EINVAL, "'%.*s' is out of range (%s to %s%s%s)",
	    STR_ARG(str_head(v->text, 80)), lo, hi, v->row->zero ? ", or " : "",
	    v->row->zero ? v->row->zero : "");
}

/* A number, size or time within the row's range; its word for zero. */
static int
quantity(const struct value *v, uint64_t *ret)
{
	static const char *const what[] = {
		[CONF_T_NUMBER] = "a number",
		[CONF_T_SIZE] = "a size (write 25M, 64K or a number of bytes)",
		[CONF_T_TIME] = "a time (write 30s, 5m, 4h or 2d)",
	};
	enum conf_type type = v->row->type;
	uint64_t n = 0;
	int r;

	if (v->row->zero && (str_eq(v->text, str_c(v->row->zero)) || str_eq(v->text, STR("0")))) {
		*ret = 0;
		return 0;
	}
	if (type == CONF_T_NUMBER) {
		bool digits = v->text.n > 0;

		for (size_t i = 0; i < v->text.n; i++)
			digits &= ascii_isdigit(v->text.p[i]);
		r = !digits ? -EINVAL : str_u64(v->text, UINT32_MAX, &n) ? 0 : -ERANGE;
	} else {
		r = type == CONF_T_SIZE ? conf_size_parse(v->text, &n) :
		    conf_time_parse(v->text, &n);
	}
	if (r == -EINVAL)
		return wrong(v, what[type]);
	if (r || n < v->row->min || (v->row->max && n > v->row->max))
		return out_of_range(v);
	*ret = n;
	return 0;
}

static int
number_set(const struct value *v)
{
	uint64_t n;
	int r = quantity(v, &n);

	if (r == 0)
		*(unsigned *)v->field = (unsigned)n;
	return r;
}

static void
number_put(struct buf *out, const void *field, const struct conf_row *row)
{
	quantity_text(out, row, *(const unsigned *)field);
}

static int
long_set(const struct value *v)
{
	return quantity(v, v->field);
}

static void
long_put(struct buf *out, const void *field, const struct conf_row *row)
{
	quantity_text(out, row, *(const uint64_t *)field);
}

/* Room for one more element of size bytes behind the n that stand at old. The
 * array doubles; what it leaves behind stays in the arena. */
static void *
list_room(const struct value *v, void *old, size_t n, size_t size)
{
	void *p;

	if (n && (n & (n - 1)))
		return old;
	p = n < LIST_MAX ? arena_alloc(v->arena, (n ? 2 * n : 1) * size) : NULL;
	if (p && n)
		memcpy(p, old, n * size);
	return p;
}

static int
nets_set(const struct value *v)
{
	struct conf_nets *nets = v->field;
	struct conf_net net, *room;

	if (str_eq(v->text, STR("none"))) {
		if (nets->n)
			return err_set(v->e, -EINVAL, "'none' must stand alone");
		return 0;
	}
	if (conf_net_parse(v->text, &net))
		return wrong(v, "an address range (write 192.0.2.0/24, 2001:db8::/32 or an address)");
	room = list_room(v, nets->v, nets->n, sizeof net);
	if (!room)
		return no_memory(v);
	nets->v = room;
	nets->v[nets->n++] = net;
	return 0;
}

static void
nets_put(struct buf *out, const void *field, const struct conf_row *row)
{
	const struct conf_nets *nets = field;

	for (size_t i = 0; i < nets->n; i++) {
		buf_puts(out, i ? ", " : "");
		conf_net_put(out, &nets->v[i]);
	}
	if (nets->n == 0)
		buf_puts(out, "none");
}

/* How struct settings keeps a list of names: two fields side by side. */
struct names {
	struct str *v;
	size_t n;
};

static int
names_set(const struct value *v)
{
	struct names *names = v->field;
	struct str name, *room;
	int r;

	if (!conf_is_name(v->text))
		return wrong(v, "a domain name");
	r = lower_name(v, &name);
	if (r)
		return r;
	for (size_t i = 0; i < names->n; i++)
		if (str_eq(names->v[i], name))
			return err_set(v->e, -EINVAL, "'%.*s' is named twice", STR_ARG(name));
	room = list_room(v, names->v, names->n, sizeof name);
	if (!room)
		return no_memory(v);
	names->v = room;
	names->v[names->n++] = name;
	return 0;
}

static void
names_put(struct buf *out, const void *field, const struct conf_row *row)
{
	const struct names *names = field;

	for (size_t i = 0; i < names->n; i++) {
		buf_puts(out, i ? ", " : "");
		conf_quote(out, names->v[i]);
	}
}

static int
texts_add(const struct value *v, struct str text)
{
	struct names *list = v->field;
	struct str copy = arena_dup(v->arena, text), *room;

	room = copy.p ? list_room(v, list->v, list->n, sizeof copy) : NULL;
	if (!room)
		return no_memory(v);
	list->v = room;
	list->v[list->n++] = copy;
	return 0;
}

static int
texts_set(const struct value *v)
{
	if (memchr(v->text.p, 0, v->text.n) || !v->text.n)
		return wrong(v, "a text");
	return texts_add(v, v->text);
}

static int
rules_set(const struct value *v)
{
	if (memchr(v->text.p, 0, v->text.n) || !v->text.n)
		return wrong(v, "a rule");
	return rules_add(v->field, v->text, v->arena, v->e);
}

/* ADDRESS gets the port of the DNS. */
static int
servers_set(const struct value *v)
{
	const struct names *list = v->field;
	bool six = str_chr(v->text, ':') >= 0;

	if (str_eq(v->text, STR("none")))
		return list->n ? err_set(v->e, -EINVAL, "'none' must stand alone") : 0;
	if (is_address(v->text))
		return texts_add(v, arena_printf(v->arena, "%s%.*s%s:53", six ? "[" : "",
		    STR_ARG(v->text), six ? "]" : ""));
	if (!is_endpoint(v->text))
		return wrong(v, "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT");
	return texts_add(v, v->text);
}

static void
servers_put(struct buf *out, const void *field, const struct conf_row *row)
{
	const struct names *list = field;

	if (list->n)
		names_put(out, field, row);
	else
		buf_puts(out, "none");
}

static const struct {
	int (*set)(const struct value *v);
	void (*put)(struct buf *out, const void *field, const struct conf_row *row);
} types[] = {
	[CONF_T_TEXT] = { text_set, text_put },
	[CONF_T_NAME] = { name_set, text_put },
	[CONF_T_PATH] = { path_set, text_put },
	[CONF_T_FILE] = { optional_path_set, or_none_put },
	[CONF_T_USER] = { user_set, text_put },
	[CONF_T_DELIMITER] = { delimiter_set, or_none_put },
	[CONF_T_ENDPOINT] = { endpoint_set, or_none_put },
	[CONF_T_MAILBOX] = { mailbox_set, or_none_put },
	[CONF_T_WORD] = { word_set, bare_put },
	[CONF_T_ADDRESS] = { address_set, bare_put },
	[CONF_T_IP] = { ip_set, or_none_put },
	[CONF_T_CHOICE] = { choice_set, choice_put },
	[CONF_T_SWITCH] = { switch_set, switch_put },
	[CONF_T_NUMBER] = { number_set, number_put },
	[CONF_T_SIZE] = { long_set, long_put },
	[CONF_T_TIME] = { long_set, long_put },
	[CONF_T_NETS] = { nets_set, nets_put },
	[CONF_T_FLAGS] = { flags_set, flags_put },
	[CONF_T_RULES] = { rules_set, names_put },
	[CONF_T_NAMES] = { names_set, names_put },
	[CONF_T_TEXTS] = { texts_set, names_put },
	[CONF_T_SERVERS] = { servers_set, servers_put },
};

int
conf_value_set(void *base, const struct conf_row *row, struct str text, struct str dir,
    struct arena *a, struct err *e)
{
	struct value v = { (char *)base + row->offset, row, text, dir, a, e };

	return types[row->type].set(&v);
}

void
conf_value_put(struct buf *out, const void *base, const struct conf_row *row)
{
	types[row->type].put(out, (const char *)base + row->offset, row);
}

bool
conf_is_server(struct str text)
{
	return is_address(text) || is_endpoint(text);
}

bool
conf_type_repeats(enum conf_type t)
{
	return t == CONF_T_NAMES || t == CONF_T_TEXTS || t == CONF_T_SERVERS || t == CONF_T_RULES;
}

bool
conf_value_empty(const void *base, const struct conf_row *row)
{
	const struct names *list = (const void *)((const char *)base + row->offset);

	return conf_type_repeats(row->type) && list->n == 0;
}
