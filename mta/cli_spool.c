/* posthorn spool dump: reads the log without a daemon; looks only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/wire.h"
#include "lib/mail/envelope.h"
#include "mta/cli_tables.h"
#include "mta/queue_update.h"
#include "mta/spool_scan.h"

static const struct cli_col cols[] = {
	{ "file", false }, { "offset", true }, { "type", false }, { "sequence", false },
	{ "id", false }, { "bytes", true }, { "what", false },
};

struct dump {
	struct cli *c;
	struct cli_table *t;
	const char *file;
	uint64_t damaged;
};

static void
row(struct dump *d, struct arena *a, uint64_t off, struct str type, const struct spool_record *r,
    uint64_t bytes, struct str what)
{
	cli_cell(d->t, str_c(d->file));
	cli_cell_u64(d->t, off);
	cli_cell(d->t, type);
	cli_cell(d->t, r ? arena_printf(a, "%016llx", (unsigned long long)r->seq) : STR_NULL);
	cli_cell(d->t, r ? arena_printf(a, "%016llx", (unsigned long long)r->id) : STR_NULL);
	cli_cell_u64(d->t, bytes);
	cli_cell(d->t, what);
}

static struct str
message_text(struct arena *a, struct str meta)
{
	struct envelope e;
	struct wire_field f;

	while (wire_next(&meta, &f) > 0)
		if (f.tag == SPOOL_META_ENVELOPE && !envelope_get(f.v, a, &e))
			return arena_printf(a, "<%.*s> to %.*s (%zu)", STR_ARG(e.sender),
			    STR_ARG(e.n_rcpts ? e.rcpts[0].address : STR_NULL), e.n_rcpts);
	return STR("envelope not understood");
}

static struct str
update_text(struct arena *a, struct str meta)
{
	struct queue_update u;

	if (queue_update_get(meta, a, &u))
		return STR("update not understood");
	if (u.n_results)
		return arena_printf(a, "recipient %u: state %d, %u %.*s", u.results[0].index,
		    (int)u.results[0].state, u.results[0].smtp, STR_ARG(u.results[0].text));
	return arena_printf(a, "next %llu, tries %u, set %x, clear %x",
	    (unsigned long long)u.next_ms, u.attempts, u.set, u.clear);
}

static int
on_record(void *arg, const struct spool_record *r, uint64_t off)
{
	struct dump *d = arg;
	struct arena *a = arena_new(0);
	struct str what = STR_NULL;

	if (!a)
		return -ENOMEM;
	if (r->type == SPOOL_MESSAGE || r->type == SPOOL_LARGE_MESSAGE)
		what = message_text(a, r->meta);
	else if (r->type == SPOOL_UPDATE || r->type == SPOOL_FINAL)
		what = update_text(a, r->meta);
	row(d, a, off, str_c(spool_type_name(r->type)), r, r->content.n, what);
	arena_free(&a);
	return 0;
}

static void
on_damage(void *arg, uint64_t off, uint64_t len, const char *what)
{
	struct dump *d = arg;

	d->damaged++;
	row(d, NULL, off, STR("damage"), NULL, len, str_c(what));
}

static void
header_row(struct dump *d, struct arena *a, const struct spool_scan_result *r)
{
	const struct spool_header *h = &r->header;

	row(d, a, 0, STR("segment"), NULL, r->end,
	    arena_printf(a, "use %llu, %llu batches, %llu records, %s; before: use %llu, %s",
	    (unsigned long long)h->use, (unsigned long long)r->batches,
	    (unsigned long long)r->records, r->clean ? "clean end" : r->torn ? "torn tail" : "no end mark",
	    (unsigned long long)h->prev_use, spool_end_name(h->prev_how)));
}

static int
dump_bytes(struct dump *d, const unsigned char *mem, size_t n)
{
	struct spool_scan_spec spec = { .mem = mem, .size = n, .arg = d, .record = on_record,
		.damage = on_damage };
	struct spool_scan_result r;
	struct arena *a = arena_new(0);
	int rc = a ? spool_scan(&spec, &r) : -ENOMEM;

	if (!rc)
		header_row(d, a, &r);
	else if (rc == -ENODATA)
		row(d, a, 0, STR("segment"), NULL, n, STR("never used"));
	else if (a)
		on_damage(d, 0, SPOOL_HEADER_SIZE, "header");
	arena_free(&a);
	return rc == -ENOMEM ? rc : 0;
}

static int
dump_file(struct dump *d, int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC), rc;
	unsigned char *mem;
	struct stat st;
	ssize_t n = 0;
	size_t have = 0;

	d->file = name;
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	mem = malloc((size_t)st.st_size + 1);
	while (mem && (n = read(fd, mem + have, (size_t)st.st_size - have)) > 0)
		have += (size_t)n;
	rc = !mem ? -ENOMEM : n < 0 ? -errno : dump_bytes(d, mem, have & ~(size_t)(SPOOL_BLOCK - 1));
	free(mem);
	close(fd);
	return rc;
}

static int
is_segment(const struct dirent *de)
{
	return str_ends(str_c(de->d_name), STR(".seg"));
}

static int
dump_folder(struct dump *d, const char *path)
{
	struct dirent **v;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), sub, n, rc = 0;

	if (fd < 0)
		return -errno;
	sub = openat(fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sub >= 0) {
		close(fd);
		fd = sub;
	}
	n = scandirat(fd, ".", &v, is_segment, alphasort);
	for (int i = 0; i < n; i++) {
		if (!rc)
			rc = dump_file(d, fd, v[i]->d_name);
		free(v[i]);
	}
	if (n >= 0)
		free(v);
	close(fd);
	return n < 0 ? -errno : rc;
}

static int
spool_dump(struct cli *c)
{
	struct dump d = { .c = c };
	struct stat st;
	int rc;

	if (c->n_args != 1)
		return cli_fail(c, CLI_USAGE, "say which spool folder or segment");
	if (stat(c->args[0], &st))
		return cli_fail(c, CLI_FAILED, "%s: %s", c->args[0], strerror(errno));
	d.t = cli_table_new(c, cols, sizeof cols / sizeof *cols);
	rc = S_ISDIR(st.st_mode) ? dump_folder(&d, c->args[0]) : dump_file(&d, AT_FDCWD, c->args[0]);
	cli_table_end(&d.t);
	if (rc)
		return cli_fail(c, CLI_FAILED, "%s: %s", c->args[0], strerror(-rc));
	return d.damaged ? CLI_FAILED : CLI_OK;
}

const struct verb cli_spool[] = {
	{ "spool", "dump", "DIR|FILE", "print the records of a spool or of one segment", NULL,
	    spool_dump, VERB_NO_CONFIG,
	    .more = "Reads the files only, needs no daemon. The exit status is 1 when something is damaged.\n",
	    .examples = "spool dump /var/lib/posthorn/spool\n" },
	{ 0 },
};
