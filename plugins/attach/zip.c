/*
 * The central directory of a zip archive; see zip.h.
 *
 *	[something] [local headers and files] [central directory] [ZIP64 end, locator] [end, comment]
 *
 * The end record is looked for from behind. Where the directory begins is what the end record's own
 * place and the directory's size say: its offset is wrong when something stands before the archive.
 */
#include "plugins/attach/zip.h"

#define END_SIZE 22
#define COMMENT_MAX 65535
#define ENTRY_SIZE 46
#define LOCATOR_SIZE 20
#define END64_SIZE 56

enum { FLAG_ENCRYPTED = 1, FLAG_STRONG = 1 << 6, FLAG_MASKED = 1 << 13 };

static uint64_t
number(const char *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | (unsigned char)p[bytes];
	return v;
}

static int
is_signature(const char *p, char a, char b)
{
	return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b;
}

int
zip_begins(struct ph_str data)
{
	return data.n >= END_SIZE && (is_signature(data.p, 3, 4) || is_signature(data.p, 5, 6));
}

/* Where the end record is, from behind; data.n: nowhere. One whose comment reaches the end is
 * preferred: the bytes may stand in a comment too. */
static size_t
find_end(struct ph_str data)
{
	size_t lowest = data.n > END_SIZE + COMMENT_MAX ? data.n - END_SIZE - COMMENT_MAX : 0;
	size_t any = data.n;

	for (size_t at = data.n - END_SIZE + 1; at-- > lowest;) {
		if (data.p[at] != 'P' || !is_signature(data.p + at, 5, 6))
			continue;
		if (number(data.p + at + 20, 2) == data.n - at - END_SIZE)
			return at;
		if (any == data.n)
			any = at;
	}
	return any;
}

/* What the ZIP64 end record before `end` says; 0 or -1. *end becomes its place. */
static int
read_end64(struct ph_str data, size_t *end, uint64_t *size)
{
	const char *locator, *record;
	size_t at;

	if (*end < LOCATOR_SIZE + END64_SIZE)
		return -1;
	locator = data.p + *end - LOCATOR_SIZE;
	if (!is_signature(locator, 6, 7))
		return -1;
	/* Its place is told from the archive's begin; right before the locator it stands in any case. */
	at = *end - LOCATOR_SIZE - END64_SIZE;
	record = data.p + at;
	if (!is_signature(record, 6, 6))
		return -1;
	*size = number(record + 40, 8);
	*end = at;
	return 0;
}

int
zip_open(struct ph_str data, struct zip *ret)
{
	uint64_t size;
	size_t end;

	if (data.n < END_SIZE)
		return -1;
	end = find_end(data);
	if (end == data.n)
		return -1;
	size = number(data.p + end + 12, 4);
	if (size == 0xffffffff && read_end64(data, &end, &size))
		return -1;
	if (size > end)
		return -1;
	ret->rest = ph_bytes(data.p + (end - (size_t)size), (size_t)size);
	return 0;
}

int
zip_next(struct zip *z, struct zip_entry *ret)
{
	const char *p = z->rest.p;
	size_t name, whole;
	uint64_t flags;

	if (!z->rest.n)
		return 0;
	if (z->rest.n < ENTRY_SIZE || !is_signature(p, 1, 2))
		return -1;
	name = (size_t)number(p + 28, 2);
	whole = ENTRY_SIZE + name + (size_t)number(p + 30, 2) + (size_t)number(p + 32, 2);
	if (whole > z->rest.n)
		return -1;
	flags = number(p + 8, 2);
	ret->encrypted = (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED)) != 0;
	ret->name = ph_bytes(p + ENTRY_SIZE, name);
	z->rest = ph_bytes(p + whole, z->rest.n - whole);
	return 1;
}
