/*
 * What tabled makes of settings and keys (servers, queries, filters, values), its frames, and
 * what authd remembers of its answers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "mta/table.h"
#include "mta/tabled.h"

static void
servers(void **state)
{
	static const struct {
		const char *text;
		int want;
		const char *host;
		unsigned port;
		bool implicit_tls;
		enum conf_table_tls tls;
	} rows[] = {
		{ "db.example.test", 0, "db.example.test", 389, false, CONF_TABLE_TLS_VERIFY },
		{ "db.example.test:77", 0, "db.example.test", 77, false, CONF_TABLE_TLS_VERIFY },
		{ "127.0.0.1:77", 0, "127.0.0.1", 77, false, CONF_TABLE_TLS_OFF },
		{ "127.example.test", 0, "127.example.test", 389, false, CONF_TABLE_TLS_VERIFY },
		{ "LOCALHOST", 0, "LOCALHOST", 389, false, CONF_TABLE_TLS_OFF },
		{ "::1", 0, "::1", 389, false, CONF_TABLE_TLS_OFF },
		{ "[2001:db8::1]:77", 0, "2001:db8::1", 77, false, CONF_TABLE_TLS_VERIFY },
		{ "[2001:db8::1]", 0, "2001:db8::1", 389, false, CONF_TABLE_TLS_VERIFY },
		{ "/run/ldapi", 0, "/run/ldapi", 0, false, CONF_TABLE_TLS_OFF },
		{ "ldaps://db.example.test/", 0, "db.example.test", 636, true, CONF_TABLE_TLS_VERIFY },
		{ "ldap://db.example.test", 0, "db.example.test", 389, false, CONF_TABLE_TLS_VERIFY },
		{ "ldaps://127.0.0.1", 0, "127.0.0.1", 636, true, CONF_TABLE_TLS_VERIFY },
		{ "", -EINVAL }, { ":77", -EINVAL }, { "db:", -EINVAL }, { "db:x", -EINVAL },
		{ "db:65536", -EINVAL }, { "db:0", -EINVAL }, { "[::1", -EINVAL }, { "[]:7", -EINVAL },
		{ "[::1]7", -EINVAL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct table_server s;
		int r = table_server_parse(str_c(rows[i].text), 389, 636, CONF_TABLE_TLS_AUTO, &s);

		if (r != rows[i].want)
			fail_msg("'%s': %d", rows[i].text, r);
		if (r)
			continue;
		assert_string_equal(s.host, rows[i].host);
		assert_int_equal(s.port, rows[i].port);
		assert_int_equal(s.implicit_tls, rows[i].implicit_tls);
		assert_int_equal(s.tls, rows[i].tls);
	}
}

static void
queries(void **state)
{
	static const struct {
		enum query_style style;
		const char *text, *want, *places; /* want NULL: refused */
	} rows[] = {
		{ QUERY_DOLLAR, "SELECT a FROM t WHERE k = '%s'", "SELECT a FROM t WHERE k = $1", "s" },
		{ QUERY_DOLLAR, "SELECT a FROM t WHERE k = %s", "SELECT a FROM t WHERE k = $1", "s" },
		{ QUERY_DOLLAR, "u = '%u' AND d = '%d' OR u = '%u'", "u = $1 AND d = $2 OR u = $1", "ud" },
		{ QUERY_DOLLAR, "k = 'a''%u@%d'", "k = ('a'''||$1||'@'||$2||'')", "ud" },
		{ QUERY_DOLLAR, "k LIKE '%%x' AND y %% 2 = 0", "k LIKE '%x' AND y % 2 = 0", "" },
		{ QUERY_DOLLAR, "k LIKE 'x%'", "k LIKE 'x%'", "" },
		{ QUERY_DOLLAR, "k = 'open", NULL, "" },
		{ QUERY_DOLLAR, "k = 'it''", NULL, "" },
		{ QUERY_MARK, "u = '%u' OR u = '%u'", "u = ? OR u = ?", "uu" },
		{ QUERY_MARK, "k = 'a\\'%u@%d'", "k = CONCAT('a\\'',?,'@',?,'')", "ud" },
		{ QUERY_MARK, "k = \"%s\"", "k = ?", "s" },
		{ QUERY_MARK, "k = \"it's %s\"", "k = CONCAT(\"it's \",?,\"\")", "s" },
		{ QUERY_MARK, "k = 'x\\'", NULL, "" },
		{ QUERY_MARK, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", NULL, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct table_query q;
		struct err e = { 0 };
		int r = table_query_make(str_c(rows[i].text), rows[i].style, &q, &e);

		if (!rows[i].want) {
			assert_int_equal(r, -EINVAL);
			assert_true(e.text[0]);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(q.text, rows[i].want);
		assert_int_equal(q.n_places, strlen(rows[i].places));
		for (unsigned k = 0; k < q.n_places; k++)
			assert_int_equal("sud"[q.places[k]], rows[i].places[k]);
		assert_int_equal(q.wants_domain, strpbrk(rows[i].places, "ud") != NULL);
		table_query_done(&q);
	}
}

static void
filters(void **state)
{
	static const struct { const char *filter, *key, *want; } rows[] = {
		{ "(mail=%s)", "user1@example.test", "(mail=user1@example.test)" },
		{ "(&(uid=%u)(d=%d))", "user1@example.test", "(&(uid=user1)(d=example.test))" },
		{ "(mail=%s)", "*)(uid=*", "(mail=\\2a\\29\\28uid=\\2a)" },
		{ "(mail=%s)", "a\\b\x01", "(mail=a\\5cb\\01)" },
		{ "(x=100%%)", "x", "(x=100%)" },
		{ "(x=%x)", "x", NULL },
		{ "(x=%", "x", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str key = str_c(rows[i].key), rest = key, parts[PARTS] = { key, str_cut(&rest, '@') };
		struct buf b = { 0 };
		int r;

		parts[PART_DOMAIN] = rest;
		r = table_filter_put(&b, str_c(rows[i].filter), parts);
		assert_int_equal(r, rows[i].want ? 0 : -EINVAL);
		if (rows[i].want)
			assert_string_equal(buf_cstr(&b), rows[i].want);
		buf_done(&b);
	}
}

static void
values(void **state)
{
	struct table_values v = { .max = 100 };
	static const char big[TABLE_ANSWER_MAX];

	for (int i = 0; i < 100; i++)
		assert_int_equal(table_values_add(&v, STR("value")), 0);
	assert_int_equal(table_values_add(&v, STR("")), 0);
	assert_int_equal(v.n, 100);
	assert_int_equal(v.ends[99], 500);
	assert_int_equal(table_values_add(&v, STR("value")), -EMSGSIZE);
	v.max = 200;
	assert_int_equal(table_values_add(&v, str_from(big, sizeof big)), -EMSGSIZE);
	buf_done(&v.bytes);
	free(v.ends);
}

static void
frames(void **state)
{
	struct str two[] = { STR("user1@example.test"), STR("x,y") };
	struct table_question q = { STR("sql"), STR("info@example.test") }, got;
	struct table_answer a = { two, 2 }, back;
	struct arena *arena = arena_new(0);
	struct buf b = { 0 };

	table_question_put(&b, &q);
	assert_int_equal(table_question_get(buf_view(&b), &got), 0);
	assert_true(str_eq(got.table, q.table) && str_eq(got.key, q.key));
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(table_question_get(str_head(buf_view(&b), n), &got), -EPROTO);
	buf_clear(&b);
	table_answer_put(&b, &a);
	assert_int_equal(table_answer_get(buf_view(&b), arena, &back), 0);
	assert_int_equal(back.n, 2);
	assert_true(str_eq(back.values[1], two[1]));
	assert_int_equal(table_answer_get(STR_NULL, arena, &back), 0);
	assert_int_equal(back.n, 0);
	buf_done(&b);
	arena_free(&arena);
}

/* A key is asked once a request; what came counts for the request and, for its time, for others. */
static void
remembered(void **state)
{
	struct conf_table conf = { .name = STR("sql"), .type = CONF_TABLE_PGSQL, .cache_ms = 60000,
		.cache_missing_ms = 20 };
	struct settings s = { .tables = &conf, .n_tables = 1 };
	struct arena *arena = arena_new(0);
	struct table_answers *a = table_answers_new();
	struct tables *t;
	struct str table, key, v;
	size_t no;

	assert_int_equal(tables_open(&s, NULL, NULL, &t), 0);
	assert_int_equal(table_find(tables_get(t, STR("SQL")), STR("k"), arena, &v), -ENOTCONN);
	tables_use(t, a);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("KEY"), arena, &v), -EINPROGRESS);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("key"), arena, &v), -EINPROGRESS);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("none"), arena, &v), -EINPROGRESS);
	assert_true(table_answers_next(a, &no, &table, &key));
	assert_true(str_eq(key, STR("key")) && str_eq(table, STR("sql")));
	table_answers_put(a, no, 1, STR("value"));
	tables_remember(t, table, key, 1, STR("value"));
	assert_true(table_answers_next(a, &no, &table, &key));
	table_answers_put(a, no, 0, STR_NULL);
	tables_remember(t, table, key, 0, STR_NULL);
	assert_false(table_answers_next(a, &no, &table, &key));
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("key"), arena, &v), 1);
	assert_true(str_eq(v, STR("value")));
	table_answers_free(&a);

	a = table_answers_new();
	tables_use(t, a);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("key"), arena, &v), 1);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("none"), arena, &v), 0);
	assert_false(table_answers_next(a, &no, &table, &key));
	table_answers_free(&a);

	usleep(30000);
	a = table_answers_new();
	tables_use(t, a);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("none"), arena, &v), -EINPROGRESS);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("key"), arena, &v), 1);
	table_answers_free(&a);
	tables_close(&t);
	arena_free(&arena);
}

/* The cache forgets; it does not grow without end, nor lose what is in use. */
static void
bounded(void **state)
{
	struct conf_table conf = { .name = STR("sql"), .type = CONF_TABLE_LDAP, .cache_ms = 60000 };
	struct settings s = { .tables = &conf, .n_tables = 1 };
	struct arena *arena = arena_new(0);
	struct table_answers *a;
	struct tables *t;
	struct str v;
	char key[32];

	assert_int_equal(tables_open(&s, NULL, NULL, &t), 0);
	tables_remember(t, STR("sql"), STR("first"), 1, STR("value"));
	tables_remember(t, STR("sql"), STR("used"), 1, STR("value"));
	for (int i = 0; i < 100000; i++) {
		snprintf(key, sizeof key, "key%d", i);
		tables_remember(t, STR("sql"), str_c(key), 1, str_c(key));
		if (i % 5000)
			continue;
		a = table_answers_new();
		tables_use(t, a);
		assert_int_equal(table_find(tables_get(t, STR("sql")), STR("used"), arena, &v), 1);
		table_answers_free(&a);
	}
	a = table_answers_new();
	tables_use(t, a);
	assert_int_equal(table_find(tables_get(t, STR("sql")), STR("first"), arena, &v), -EINPROGRESS);
	assert_int_equal(table_find(tables_get(t, STR("sql")), str_c(key), arena, &v), 1);
	table_answers_free(&a);
	tables_close(&t);
	arena_free(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers), cmocka_unit_test(queries), cmocka_unit_test(filters),
		cmocka_unit_test(values), cmocka_unit_test(frames), cmocka_unit_test(remembered),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
