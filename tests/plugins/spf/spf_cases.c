/*
 * Evaluates SPF cases that come by standard input, one line each, fields divided by tabs:
 *
 *	zone                           the world is empty from here on
 *	record NAME TYPE HEX           a record, its data in wire form (TXT: the strings joined)
 *	silent NAME                    questions about other types of this name get no answer
 *	case IP HELO SENDER            prints RESULT, a tab, the explanation
 *
 * spf_cases.py makes the lines of the YAML that suites of cases are written in.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/spf/cross.h"
#include "plugins/spf/eval.h"

enum { RECORDS_MAX = 400, ANSWERS_MAX = 64, CNAMES_MAX = 8, TYPE_CNAME = 5 };

static struct record {
	char name[600];
	uint32_t type; /* 0: silent */
	char data[2048];
	size_t n;
} records[RECORDS_MAX];
static size_t n_records;
static struct ph_str answers[8][ANSWERS_MAX];
static unsigned n_answers;

static int
is_named(const struct record *r, struct ph_str name)
{
	return ph_ieq(ph_c(r->name), name);
}

static void
uncompressed(const struct record *r, char *buf)
{
	size_t n = 0;

	for (size_t at = 0; at < r->n && r->data[at]; at += 1 + (size_t)(unsigned char)r->data[at]) {
		memcpy(buf + n, r->data + at + 1, (unsigned char)r->data[at]);
		n += (unsigned char)r->data[at];
		buf[n++] = '.';
	}
	buf[n ? n - 1 : 0] = '\0';
}

/* The records of a name; the answers live until eight more questions have been asked, or as
 * long as the case. */
static int
look(struct ph_str name, uint32_t type, struct ph_dns *ret, int cnames)
{
	struct ph_str *rows = answers[n_answers++ % 8];
	static char target[8][2048];
	int exists = 0, silent = 0;

	*ret = (struct ph_dns){ .status = PH_DNS_OK, .rdata = rows };
	for (size_t i = 0; i < n_records; i++) {
		struct record *r = &records[i];

		if (!is_named(r, name))
			continue;
		exists = 1;
		silent |= !r->type;
		if (r->type == type && ret->n < ANSWERS_MAX)
			rows[ret->n++] = ph_bytes(r->data, r->n);
	}
	for (size_t i = 0; i < n_records && !ret->n; i++)
		if (is_named(&records[i], name) && records[i].type == TYPE_CNAME) {
			char *to = target[cnames];

			if (cnames == CNAMES_MAX - 1) {
				ret->status = PH_DNS_FAILED;
				return 0;
			}
			uncompressed(&records[i], to);
			return look(ph_c(to), type, ret, cnames + 1);
		}
	if (!ret->n)
		ret->status = silent ? PH_DNS_FAILED : exists ? PH_DNS_NODATA : PH_DNS_NXDOMAIN;
	return 0;
}

static int
dns(void *arg, struct ph_str name, uint32_t type, struct ph_dns *ret)
{
	struct ph_str *rows;
	int r = look(name, type, ret, 0);

	(void)arg;
	rows = malloc((ret->n + 1) * sizeof *rows); /* the program ends soon */
	if (!rows)
		exit(99);
	memcpy(rows, ret->rdata, ret->n * sizeof *rows);
	ret->rdata = rows;
	return r;
}

static void
add(const char *name, const char *type, const char *hex)
{
	struct record *r = &records[n_records];
	size_t n = hex ? strlen(hex) / 2 : 0;

	if (n_records == RECORDS_MAX || n > sizeof r->data || strlen(name) >= sizeof r->name)
		exit(99);
	n_records++;
	strcpy(r->name, name);
	r->type = type ? (uint32_t)atoi(type) : 0;
	r->n = n;
	for (size_t i = 0; i < n; i++) {
		char byte[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		r->data[i] = (char)strtoul(byte, NULL, 16);
	}
}

static void
evaluate(const char *ip, const char *helo, const char *sender)
{
	struct spf_query q = { ph_c(ip), ph_c(helo), ph_c(sender), ph_c("receiver.example.test"), 1, dns, NULL };
	enum spf_result other = SPF_RESULTS;
	struct spf_verdict v;

	if (spf_check(&q, &v) < 0) {
		puts("not an address");
		return;
	}
	spf_cross_check(&q, &v, &other);
	printf("%s\t%s\t%s\t%s\n", spf_result_name(v.result), v.explanation,
	    other < SPF_RESULTS ? spf_result_name(other) : "-", v.why);
}

int
main(void)
{
	static char line[8192];

	while (fgets(line, sizeof line, stdin)) {
		char *rest = line, *f[4] = { NULL };

		line[strcspn(line, "\n")] = '\0';
		for (int i = 0; i < 4 && rest; i++)
			f[i] = strsep(&rest, "\t");
		if (!strcmp(f[0], "zone"))
			n_records = 0;
		else if (!strcmp(f[0], "record") && f[3])
			add(f[1], f[2], f[3]);
		else if (!strcmp(f[0], "silent") && f[1])
			add(f[1], NULL, NULL);
		else if (!strcmp(f[0], "case") && f[3])
			evaluate(f[1], f[2], f[3]);
		else
			return 99;
	}
	return 0;
}
