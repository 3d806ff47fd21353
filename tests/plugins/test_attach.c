/* Names, types and archives that are not wanted (plugins/attach). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugins/attach/policy.h"
#include "plugins/attach/zip.h"

const struct ph_api *ph_host; /* no host is here */

static struct policy p;

static int
setup(void **state)
{
	(void)state;
	memset(&p, 0, sizeof p);
	p.hidden = p.archives = p.encrypted = p.broken = p.sniff = 1;
	p.entries_max = 50;
	p.extensions.v[p.extensions.n++] = ph_c("exe");
	p.extensions.v[p.extensions.n++] = ph_c("js");
	p.names.v[p.names.n++] = ph_c("invoice*.zip");
	p.types.v[p.types.n++] = ph_c("application/x-ms*");
	return 0;
}

static void
patterns(void **state)
{
	static const struct {
		const char *pattern, *text;
		int want;
	} t[] = {
		{ "", "", 1 }, { "", "a", 0 }, { "*", "", 1 }, { "*", "abc", 1 }, { "a*c", "ABBC", 1 }, { "a*c", "ab", 0 },
		{ "*.d?cm", "x.DOCM", 1 }, { "*.d?cm", "x.dcm", 0 }, { "a*b*c", "a-b-b-c", 1 }, { "a**b", "ab", 1 },
		{ "*a*b", "aaaaaaaaaaaac", 0 }, { "?", "", 0 },
	};
	char many[2000], stars[200];

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		assert_int_equal(policy_matches(ph_c(t[i].pattern), ph_c(t[i].text)), t[i].want);
	memset(many, 'a', sizeof many);
	for (size_t i = 0; i < sizeof stars; i++)
		stars[i] = i % 2 ? 'a' : '*';
	stars[sizeof stars - 1] = 'b';
	assert_int_equal(policy_matches(ph_bytes(stars, sizeof stars), ph_bytes(many, sizeof many)), 0);
}

static void
names(void **state)
{
	static const struct {
		const char *name;
		int bad;
	} t[] = {
		{ "a.exe", 1 }, { "A.EXE", 1 }, { "a.exe.", 1 }, { "a.exe . .", 1 }, { "a.pdf.exe", 1 }, { "a.exe.pdf", 1 },
		{ "a. exe", 1 }, { "dir/sub\\a.js", 1 }, { "a.exe/readme.txt", 0 }, { "exe", 0 }, { "a.exes", 0 },
		{ "", 0 }, { "...", 0 }, { "Invoice-77.ZIP", 1 }, { "my invoice.zip", 0 },
		{ "photo\xe2\x80\xae" "gpj.xyz", 1 }, { ".exe", 1 },
	};
	static char longest[5000];

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		assert_int_equal(policy_name(&p, ph_c(t[i].name)) != NULL, t[i].bad);
	p.hidden = 0;
	assert_null(policy_name(&p, ph_c("a.exe.pdf")));
	memset(longest, 'x', sizeof longest);
	memcpy(longest + sizeof longest - 4, ".exe", 4);
	assert_non_null(policy_name(&p, ph_bytes(longest, sizeof longest)));
	assert_non_null(policy_type(&p, ph_c("application/x-msdownload")));
	assert_null(policy_type(&p, ph_c("application/pdf")));
}

/* ---- archives ---- */

static struct archive {
	char p[100000];
	size_t n;
} made;

static void
put(uint64_t v, unsigned bytes)
{
	while (bytes-- > 0) {
		made.p[made.n++] = (char)v;
		v >>= 8;
	}
}

static void
put_entry(const char *name, unsigned flags)
{
	put(0x02014b50, 4);
	put(0, 4);
	put(flags, 2);
	put(0, 18);
	put(strlen(name), 2);
	put(3, 2); /* extra */
	put(2, 2); /* comment */
	put(0, 12);
	memcpy(made.p + made.n, name, strlen(name));
	made.n += strlen(name);
	put(0, 5);
}

static void
put_end(uint64_t size, unsigned comment)
{
	put(0x06054b50, 4);
	put(0, 8);
	put(size, 4);
	put(0, 4);
	put(comment, 2);
}

static struct ph_str
archive(const char *name, unsigned flags)
{
	size_t from;

	made.n = 0;
	put(0x04034b50, 4);
	put(0, 30);
	from = made.n;
	put_entry("readme.txt", 0);
	put_entry(name, flags);
	put_end(made.n - from, 0);
	return ph_bytes(made.p, made.n);
}

static void
archives(void **state)
{
	struct ph_str inside, data;

	(void)state;
	assert_null(policy_content(&p, archive("b.txt", 0), &inside));
	assert_string_equal(policy_content(&p, archive("d/b.exe", 0), &inside), "an extension that is not wanted");
	assert_true(ph_eq(inside, ph_c("d/b.exe")));
	assert_string_equal(policy_content(&p, archive("b.txt", 1), &inside), "an archive with a password");
	/* cut anywhere it is broken, or no archive at all; never good */
	data = archive("b.exe", 0);
	for (size_t i = 22; i < data.n; i++)
		assert_non_null(policy_content(&p, ph_bytes(data.p, i), &inside));
	/* a comment, a directory that is longer than the file, too many entries */
	archive("b.exe", 0);
	made.n -= 2;
	put(5, 2);
	put(0, 5);
	assert_non_null(policy_content(&p, ph_bytes(made.p, made.n), &inside));
	made.n = 0;
	put(0x04034b50, 4);
	put(0, 30);
	put_end(0xfffffff0, 0);
	assert_string_equal(policy_content(&p, ph_bytes(made.p, made.n), &inside), "an archive that cannot be read");
	made.n = 34;
	for (int i = 0; i < 60; i++)
		put_entry("x", 0);
	put_end(made.n - 34, 0);
	assert_string_equal(policy_content(&p, ph_bytes(made.p, made.n), &inside), "an archive that cannot be read");
	p.broken = 0;
	assert_null(policy_content(&p, ph_bytes(made.p, made.n), &inside));
}

static void
zip64(void **state)
{
	struct ph_str inside;
	size_t size;

	(void)state;
	made.n = 0;
	put(0x04034b50, 4);
	put(0, 30);
	put_entry("b.exe", 0);
	size = made.n - 34;
	put(0x06064b50, 4);
	put(44, 8);
	put(0, 20);
	put(1, 8);
	put(size, 8);
	put(34, 8);
	put(0x07064b50, 4);
	put(0, 16);
	put_end(0xffffffff, 0);
	assert_string_equal(policy_content(&p, ph_bytes(made.p, made.n), &inside), "an extension that is not wanted");
}

static void
programs(void **state)
{
	struct ph_str inside;
	char mz[100] = "MZ";

	(void)state;
	assert_string_equal(policy_content(&p, ph_bytes(mz, sizeof mz), &inside), "a program");
	assert_null(policy_content(&p, ph_bytes(mz, 10), &inside));
	p.extensions.n = 0;
	assert_null(policy_content(&p, ph_bytes(mz, sizeof mz), &inside));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns), cmocka_unit_test_setup(names, setup), cmocka_unit_test_setup(archives, setup),
		cmocka_unit_test_setup(zip64, setup), cmocka_unit_test_setup(programs, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
