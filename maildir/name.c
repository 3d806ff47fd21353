/*
 * Names of message files: see name.h for the two shapes. Parsing goes from the
 * left and keeps what it understands; a field that is not as this program
 * writes it ends the base, so that names made by others stay usable as bases.
 */
#include "maildir/name.h"

#include <inttypes.h>

#define DIGITS_MAX 20

void
name_base(struct buf *b, uint64_t time_us, enum name_origin origin, uint64_t id, uint64_t size,
    const uint32_t *crc)
{
	buf_printf(b, "%" PRIu64 ".M%06" PRIu64 "%c%016" PRIx64 ".ph,S=%" PRIu64,
	    time_us / 1000000, time_us % 1000000, origin == NAME_DELIVERED ? 'D' : 'N', id, size);
	if (crc)
		buf_printf(b, ",C=%08" PRIx32, *crc);
}

void
name_cur(struct buf *b, struct str base, uint32_t uid, uint64_t email)
{
	buf_str(b, base);
	buf_printf(b, ",U=%" PRIu32 ",E=%016" PRIx64 ":2,", uid, email);
}

/* `digits` lower-case hexadecimal digits. */
static bool
hex(struct str s, size_t digits, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n != digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (unsigned)(c - 'a' + 10);
		else
			return false;
	}
	*ret = v;
	return true;
}

/* "1732440000.M123456D00000000000000ab.ph" */
static void
parse_origin(struct str s, struct msg_name *n)
{
	struct str sec = str_cut(&s, '.'), mid = str_cut(&s, '.');
	uint64_t t, us, id;

	if (!str_u64(sec, UINT64_MAX / 2000000, &t))
		return;
	n->time_us = t * 1000000;
	if (mid.n != 1 + 6 + 1 + 16 || mid.p[0] != 'M' || !str_eq(s, STR("ph")) ||
	    (mid.p[7] != 'D' && mid.p[7] != 'N'))
		return;
	if (!str_u64(str_from(mid.p + 1, 6), 999999, &us) || !hex(str_skip(mid, 8), 16, &id))
		return;
	n->time_us += us;
	n->id = id;
	n->origin = mid.p[7] == 'D' ? NAME_DELIVERED : NAME_APPENDED;
}

/* ",U=17,E=00000000000004d2" at the end of s: cuts it off. */
static void
parse_place(struct str *s, struct msg_name *n)
{
	ptrdiff_t e = str_rchr(*s, ','), u;
	struct str head, field;
	uint64_t email;
	uint32_t uid;

	if (e < 0 || !str_starts(str_skip(*s, (size_t)e), STR(",E=")))
		return;
	field = str_skip(*s, (size_t)e + 3);
	head = str_head(*s, (size_t)e);
	u = str_rchr(head, ',');
	if (u < 0 || !str_starts(str_skip(head, (size_t)u), STR(",U=")))
		return;
	if (!hex(field, 16, &email) || !str_u32(str_skip(head, (size_t)u + 3), UINT32_MAX, &uid) ||
	    !uid || !email)
		return;
	n->uid = uid;
	n->email = email;
	*s = str_head(head, (size_t)u);
}

static void
parse_size(struct str base, struct msg_name *n)
{
	ptrdiff_t i = str_find(base, STR(",S="));
	struct str s;

	if (i < 0)
		return;
	s = str_skip(base, (size_t)i + 3);
	s = str_cut(&s, ',');
	n->has_size = s.n <= DIGITS_MAX && str_u64(s, INT64_MAX, &n->size);
}

static void
parse_crc(struct str base, struct msg_name *n)
{
	ptrdiff_t i = str_find(base, STR(",C="));
	struct str s;
	uint64_t v;

	if (i < 0)
		return;
	s = str_skip(base, (size_t)i + 3);
	n->has_crc = hex(str_cut(&s, ','), 8, &v);
	n->crc = n->has_crc ? (uint32_t)v : 0;
}

bool
name_parse(struct str name, struct msg_name *ret)
{
	struct msg_name n = { 0 };
	struct str s = name;
	ptrdiff_t comma;

	if (!s.n || s.n > NAME_MAX_LEN || s.p[0] == '.' || memchr(s.p, '/', s.n) ||
	    memchr(s.p, 0, s.n) || memchr(s.p, '\n', s.n))
		return false;
	s = str_cut(&s, ':');
	if (!s.n)
		return false;
	parse_place(&s, &n);
	if (!s.n)
		return false;
	n.base = s;
	parse_size(s, &n);
	parse_crc(s, &n);
	comma = str_chr(s, ',');
	parse_origin(comma < 0 ? s : str_head(s, (size_t)comma), &n);
	*ret = n;
	return true;
}
