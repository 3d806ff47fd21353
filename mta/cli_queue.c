/* posthorn queue ...: looking at and changing the queue of a running instance. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/client/control.h"
#include "lib/client/queue_admin.h"
#include "mta/cli_tables.h"

#define ANSWER_MS 60000u

/* Which messages; the verbs that list and those that change have these alike. */
#define FILTERS(lead) \
	{ "state", OPT_CHOICE, "active|deferred|held", lead "messages in this state" }, \
	{ "sender", OPT_STRING, "ADDRESS", lead "messages of this sender" }, \
	{ "from", OPT_STRING, "ADDRESS", "the same" }, \
	{ "recipient", OPT_STRING, "ADDRESS", lead "messages with this recipient" }, \
	{ "to", OPT_STRING, "ADDRESS", "the same" }, \
	{ "site", OPT_STRING, "NAME", lead "messages that wait for this site, domain or next hop" }, \
	{ "domain", OPT_STRING, "DOMAIN", lead "messages with a recipient there" }, \
	{ "older", OPT_TIME, "AGE", lead "messages that arrived longer ago, such as 4h" }
#define CHANGES \
	{ "all", OPT_FLAG, NULL, "every message" }, \
	{ "dry-run", OPT_FLAG, NULL, "say which and how many it would be, change nothing" }

static const struct cli_opt list_opts[] = {
	FILTERS("only "),
	{ "limit", OPT_NUMBER, "N", "at most N messages" },
	{ 0 },
};
static const struct cli_opt change_opts[] = { CHANGES, FILTERS(""), { 0 } };
static const struct cli_opt hold_opts[] = {
	{ "new", OPT_CHOICE, "on|off", "hold what arrives from now on (accept, deliver nothing)" },
	CHANGES,
	FILTERS(""),
	{ 0 },
};
static const struct cli_opt summary_opts[] = {
	{ "sites", OPT_FLAG, NULL, "the sites that mail waits for, and what is known of them" },
	{ 0 },
};

/* ---- asking ---- */

static int
id_arg(const char *s, uint64_t *ret)
{
	char *end;

	if (!*s || strlen(s) > 16)
		return -EINVAL;
	errno = 0;
	*ret = strtoull(s, &end, 16);
	return *end || errno ? -EINVAL : 0;
}

/* Ids from the arguments, the filter from the options. 0 or an exit status. */
static int
request(struct cli *c, enum queue_verb verb, struct queue_admin *q)
{
	*q = (struct queue_admin){ .verb = verb };
	q->ids = ARENA_ARRAY(c->arena, uint64_t, c->n_args + 1);
	for (size_t i = 0; i < c->n_args; i++)
		if (id_arg(c->args[i], &q->ids[q->n_ids++]))
			return cli_fail(c, CLI_USAGE, "'%s' is no queue id", c->args[i]);
	return 0;
}

static void
filter(struct cli *c, struct queue_admin *q)
{
	q->state = str_c(cli_opt(c, "state"));
	q->sender = str_c(cli_opt(c, cli_opt(c, "sender") ? "sender" : "from"));
	q->rcpt = str_c(cli_opt(c, cli_opt(c, "recipient") ? "recipient" : "to"));
	q->site = str_c(cli_opt(c, "site"));
	q->domain = str_c(cli_opt(c, "domain"));
	q->older_ms = cli_opt_u64(c, "older", 0);
}

static int
stream(struct cli *c, const struct queue_admin *q, int (*part)(void *, struct frame *), void *arg)
{
	struct control *ctl;
	struct buf b = { 0 };
	struct err e;
	int rc = control_open(c->settings, ROLE_QUEUED, 0, &ctl, &e);

	if (rc)
		return cli_fail_err(c, rc, &e);
	queue_admin_put(&b, q);
	rc = control_stream(ctl, MSG_QUEUE_ADMIN, &b, ANSWER_MS, part, arg, &e);
	buf_done(&b);
	control_close(&ctl);
	return rc ? cli_fail_err(c, rc, &e) : CLI_OK;
}

static int
ask(struct cli *c, const struct queue_admin *q, struct queue_summary *ret)
{
	struct buf b = { 0 };
	struct frame f;
	struct err e;
	int rc;

	queue_admin_put(&b, q);
	rc = control_ask(c->settings, ROLE_QUEUED, 0, MSG_QUEUE_ADMIN, &b, c->arena, &f, &e);
	buf_done(&b);
	if (rc)
		return cli_fail_err(c, rc, &e);
	if (queue_summary_get(f.body, ret))
		return cli_fail(c, CLI_FAILED, "queued gave an answer that cannot be read");
	return CLI_OK;
}

/* ---- list ---- */

static const struct cli_col list_cols[] = {
	{ "id", false }, { "state", false }, { "size", true }, { "age", true }, { "tries", true },
	{ "sender", false }, { "recipient", false }, { "waiting", true }, { "reply", true },
	{ "text", false },
};

struct listing {
	struct cli *c;
	void (*row)(struct listing *l, struct arena *a, const struct queue_row *r);
	struct cli_table *t;
	struct json *j;
	size_t n; /* rows that came */
};

static struct str
hex_id(struct arena *a, uint64_t id)
{
	return arena_printf(a, "%016llx", (unsigned long long)id);
}

static uint64_t
age_ms(uint64_t arrived_us)
{
	uint64_t now = clock_real_us();

	return now > arrived_us ? (now - arrived_us) / 1000 : 0;
}

static void
list_row(struct listing *l, struct arena *a, const struct queue_row *r)
{
	const struct queue_row_rcpt none = { 0 }, *first = r->n ? &r->rcpts[0] : &none;

	cli_cell(l->t, hex_id(a, r->id));
	cli_cell(l->t, r->uncertain ? STR("uncertain") : r->state);
	cli_cell_size(l->t, r->size);
	cli_cell_age(l->t, age_ms(r->arrived_us));
	cli_cell_u64(l->t, r->attempts);
	cli_cell(l->t, r->sender.n ? r->sender : STR("<>"));
	cli_cell(l->t, first->address);
	cli_cell_u64(l->t, r->n_open);
	cli_cell_u64(l->t, first->smtp);
	cli_cell(l->t, first->text);
}

static int
each_row(void *arg, struct frame *f)
{
	struct listing *l = arg;
	struct arena *a = arena_new(0);
	struct queue_row r;
	int rc = a ? 0 : -ENOMEM;

	while (!rc && (rc = queue_row_next(&f->body, a, &r)) > 0) {
		l->row(l, a, &r);
		l->n++;
		rc = 0;
	}
	arena_free(&a);
	return rc;
}

static int
queue_list(struct cli *c)
{
	struct listing l = { .c = c, .row = list_row };
	struct queue_admin q;
	int rc = request(c, QUEUE_LIST, &q);

	if (rc)
		return rc;
	filter(c, &q);
	q.limit = cli_opt_u64(c, "limit", 0);
	l.t = cli_table_new(c, list_cols, sizeof list_cols / sizeof *list_cols);
	rc = stream(c, &q, each_row, &l);
	cli_table_end(&l.t);
	return rc;
}

/* ---- show ---- */

static const struct cli_col show_cols[] = {
	{ "id", false }, { "recipient", false }, { "state", false }, { "reply", true },
	{ "enhanced", false }, { "text", false },
};

static void
show_head(struct cli *c, const struct queue_row *r)
{
	char arrived[25], next[25];

	clock_iso(r->arrived_us, arrived);
	clock_iso(r->next_ms * 1000, next);
	cli_say(c, "%016llx  %.*s, %llu bytes, from <%.*s>", (unsigned long long)r->id,
	    STR_ARG(r->state), (unsigned long long)r->size, STR_ARG(r->sender));
	cli_say(c, "arrived %s, tenant %.*s, %llu tries, next %s", arrived, STR_ARG(r->tenant),
	    (unsigned long long)r->attempts, r->next_ms ? next : "now");
	if (r->uncertain)
		cli_say(c, "may have been delivered already: the spool lost its checkpoints");
}

static void
show_row(struct listing *l, struct arena *a, const struct queue_row *r)
{
	show_head(l->c, r);
	for (size_t i = 0; i < r->n; i++) {
		cli_cell(l->t, hex_id(a, r->id));
		cli_cell(l->t, r->rcpts[i].address);
		cli_cell(l->t, r->rcpts[i].state);
		cli_cell_u64(l->t, r->rcpts[i].smtp);
		cli_cell(l->t, r->rcpts[i].enhanced);
		cli_cell(l->t, r->rcpts[i].text);
	}
}

static int
queue_show(struct cli *c)
{
	struct listing l = { .c = c, .row = show_row };
	struct queue_admin q;
	int rc = request(c, QUEUE_SHOW, &q);

	if (rc)
		return rc;
	l.t = cli_table_new(c, show_cols, sizeof show_cols / sizeof *show_cols);
	rc = stream(c, &q, each_row, &l);
	cli_table_end(&l.t);
	return !rc && !l.n ? cli_fail(c, CLI_FAILED, "no such message") : rc;
}

/* ---- why ---- */

static const struct cli_col why_cols[] = {
	{ "id", false }, { "recipient", false }, { "state", false }, { "site", false },
	{ "waits", false }, { "reply", true }, { "host", false }, { "text", false },
};

static void
why_row(struct listing *l, struct arena *a, const struct queue_row *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct queue_row_rcpt *q = &r->rcpts[i];

		cli_cell(l->t, hex_id(a, r->id));
		cli_cell(l->t, q->address);
		cli_cell(l->t, q->state);
		cli_cell(l->t, q->site);
		cli_cell(l->t, q->why);
		cli_cell_u64(l->t, q->smtp);
		cli_cell(l->t, q->mta);
		cli_cell(l->t, q->text);
	}
}

static int
queue_why(struct cli *c)
{
	struct listing l = { .c = c, .row = why_row };
	struct queue_admin q;
	int rc = request(c, QUEUE_WHY, &q);

	if (rc)
		return rc;
	if (!q.n_ids)
		return cli_fail(c, CLI_USAGE, "say which message");
	l.t = cli_table_new(c, why_cols, sizeof why_cols / sizeof *why_cols);
	rc = stream(c, &q, each_row, &l);
	cli_table_end(&l.t);
	return !rc && !l.n ? cli_fail(c, CLI_FAILED, "no such message") : rc;
}

/* ---- sites ---- */

static const struct cli_col site_cols[] = {
	{ "site", false }, { "recipients", true }, { "waiting", true }, { "running", true },
	{ "limit", true }, { "failures", true }, { "paused_until", false }, { "gap_ms", true },
	{ "text", false },
};

static int
each_site(void *arg, struct frame *f)
{
	struct cli_table *t = arg;
	struct queue_site s;
	char until[25];
	int rc;

	while ((rc = queue_site_next(&f->body, &s)) > 0) {
		clock_iso(s.paused_until_ms * 1000, until);
		cli_cell(t, s.name);
		cli_cell_u64(t, s.recipients);
		cli_cell_u64(t, s.waiting);
		cli_cell_u64(t, s.running);
		cli_cell_u64(t, s.limit);
		cli_cell_u64(t, s.failures);
		cli_cell(t, s.paused_until_ms ? str_c(until) : STR_NULL);
		cli_cell_u64(t, s.gap_ms);
		cli_cell(t, s.text);
	}
	return rc;
}

static int
queue_sites(struct cli *c)
{
	struct queue_admin q = { .verb = QUEUE_SITES };
	struct cli_table *t = cli_table_new(c, site_cols, sizeof site_cols / sizeof *site_cols);
	int rc = stream(c, &q, each_site, t);

	cli_table_end(&t);
	return rc;
}

/* ---- cat ---- */

static int
write_out(struct str s)
{
	return fwrite(s.p, 1, s.n, stdout) == s.n ? 0 : -EIO;
}

static int
copy_file(int fd)
{
	char mem[4096];
	ssize_t n;
	int rc = 0;

	while (!rc && (n = read(fd, mem, sizeof mem)) > 0)
		rc = write_out(str_from(mem, (size_t)n));
	close(fd);
	return rc;
}

static int
cat_part(void *arg, struct frame *f)
{
	struct str piece;

	(void)arg;
	if (f->fd >= 0)
		return copy_file(f->fd);
	if (queue_piece_get(f->body, &piece))
		return -EPROTO;
	return write_out(piece);
}

static int
queue_cat(struct cli *c)
{
	struct queue_admin q;
	int rc = request(c, QUEUE_CAT, &q);

	if (rc)
		return rc;
	return stream(c, &q, cat_part, NULL);
}

/* ---- changes ---- */

static void
id_row(struct listing *l, struct arena *a, const struct queue_row *r)
{
	json_str(l->j, hex_id(a, r->id));
}

/* What a change would touch: the rows of `queue list`, or an object with the ids. */
static int
rehearse(struct cli *c, struct queue_admin *q, uint64_t *ret)
{
	struct json *j = c->json ? cli_json(c) : NULL;
	struct listing l = { .c = c, .row = j ? id_row : list_row, .j = j };
	int rc;

	q->verb = QUEUE_LIST;
	if (j) {
		json_object(j);
		json_key(j, "ids");
		json_array(j);
	} else {
		l.t = cli_table_new(c, list_cols, sizeof list_cols / sizeof *list_cols);
	}
	rc = stream(c, q, each_row, &l);
	*ret = l.n;
	if (!j) {
		cli_table_end(&l.t);
		return rc;
	}
	json_end(j);
	json_key(j, "messages");
	json_u64(j, l.n);
	json_end(j);
	cli_json_end(c);
	return rc;
}

static void
tell_count(struct cli *c, uint64_t n)
{
	struct json *j = c->json ? cli_json(c) : NULL;

	if (!j)
		return;
	json_object(j);
	json_key(j, "messages");
	json_u64(j, n);
	json_end(j);
	cli_json_end(c);
}

static int
change(struct cli *c, enum queue_verb verb, const char *what)
{
	struct queue_summary s;
	struct queue_admin q;
	int rc = request(c, verb, &q);

	if (rc)
		return rc;
	filter(c, &q);
	q.all = cli_flag(c, "all");
	q.dry_run = cli_flag(c, "dry-run");
	rc = ask(c, &q, &s);
	if (rc)
		return rc;
	if (q.n_ids && !s.touched)
		return cli_fail(c, CLI_FAILED, "no such message");
	if (q.dry_run)
		rc = rehearse(c, &q, &s.touched);
	else
		tell_count(c, s.touched);
	if (!rc)
		cli_say(c, "%llu message%s %s%s", (unsigned long long)s.touched,
		    s.touched == 1 ? "" : "s", q.dry_run ? "would be " : "", what);
	return rc;
}

static int
queue_retry(struct cli *c)
{
	return change(c, QUEUE_RETRY, "tried now");
}

static int
queue_release(struct cli *c)
{
	return change(c, QUEUE_RELEASE, "released");
}

static int
queue_bounce(struct cli *c)
{
	return change(c, QUEUE_BOUNCE, "returned to their senders");
}

static int
queue_delete(struct cli *c)
{
	return change(c, QUEUE_DELETE, "deleted");
}

static int
queue_hold(struct cli *c)
{
	const char *word = cli_opt(c, "new");
	struct queue_admin q = { .verb = QUEUE_HOLD_NEW };
	struct queue_summary s;
	int rc;

	if (!word)
		return change(c, QUEUE_HOLD, "held");
	q.on = !strcmp(word, "on");
	rc = ask(c, &q, &s);
	if (!rc)
		cli_say(c, q.on ? "new mail is accepted and held; 'queue release --all' lets it go" :
		    "new mail is delivered; what is held stays held");
	return rc;
}

/* ---- summary ---- */

struct count {
	const char *name;
	uint64_t v;
};

static void
summary_json(struct cli *c, const struct count *rows, size_t n)
{
	struct json *j = cli_json(c);

	json_object(j);
	for (size_t i = 0; i < n; i++) {
		json_key(j, rows[i].name);
		json_u64(j, rows[i].v);
	}
	json_end(j);
	cli_json_end(c);
}

static int
queue_summary(struct cli *c)
{
	struct queue_admin q = { .verb = QUEUE_SUMMARY };
	struct queue_summary s = { 0 };
	int rc = cli_flag(c, "sites") ? CLI_OK : ask(c, &q, &s);
	const struct count rows[] = {
		{ "messages", s.messages }, { "active", s.active }, { "deferred", s.deferred },
		{ "held", s.held }, { "recipients", s.recipients },
		{ "undeliverable", s.undeliverable }, { "bytes", s.bytes },
		{ "oldest_ms", s.oldest_ms }, { "tenants", s.tenants }, { "segments", s.segments },
		{ "segments_ready", s.ready }, { "disk_bytes", s.disk_bytes },
		{ "disk_free", s.disk_free }, { "hold_new", s.hold_new },
		{ "pressure", s.pressure }, { "disk_failed", s.failed },
	};

	if (cli_flag(c, "sites"))
		return queue_sites(c);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cli_say(c, "%-16s %llu", rows[i].name, (unsigned long long)rows[i].v);
	if (c->json)
		summary_json(c, rows, sizeof rows / sizeof *rows);
	return CLI_OK;
}

const struct verb cli_queue[] = {
	{ "queue", "list", "[ID...]", "list queued messages", list_opts, queue_list,
	    .examples = "queue list --state deferred --domain example.test\n" },
	{ "queue", "show", "ID...", "show messages with each recipient's last result", NULL,
	    queue_show, .examples = "queue show 00066103e38d9e03\n" },
	{ "queue", "cat", "ID", "write a message's content", NULL, queue_cat },
	{ "queue", "retry", "[ID...]", "try messages now", change_opts, queue_retry },
	{ "queue", "hold", "[ID...]", "hold messages, or what arrives", hold_opts, queue_hold,
	    .examples = "queue hold --new on\n" },
	{ "queue", "release", "[ID...]", "let held messages go", change_opts, queue_release },
	{ "queue", "delete", "[ID...]", "delete messages for good", change_opts, queue_delete,
	    .examples = "queue delete --sender user1@example.test --dry-run\n" },
	{ "queue", "bounce", "[ID...]", "give up and tell the senders", change_opts, queue_bounce,
	    .examples = "queue bounce --site mx.example.net --older 2d --dry-run\n" },
	{ "queue", "why", "ID...", "say what each recipient of a message waits for", NULL, queue_why,
	    .examples = "queue why 00066103e38d9e03\n" },
	{ "queue", "summary", "", "how much is queued, and in which state", summary_opts, queue_summary },
	{ 0 },
};
