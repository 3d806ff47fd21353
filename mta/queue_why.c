/* What the queue waits for, in words: for `posthorn queue why` and the list of sites. */
#include "lib/base/clock.h"
#include "lib/client/queue_admin.h"
#include "mta/queued.h"

static bool
has_host(struct str site, struct str host)
{
	while (site.n)
		if (str_ieq(str_cut(&site, ','), host))
			return true;
	return false;
}

bool
why_leads_to(const struct qrcpt *r, struct str site)
{
	const struct hop *h = r->hop;

	if (r->route != ROUTE_REMOTE || !qrcpt_is_open(r))
		return false;
	return str_ieq(h->domain, site) || str_ieq(h->next_hop, site) ||
	    (h->dest && (str_ieq(h->dest->name, site) || has_host(h->dest->name, site)));
}

struct str
why_site(const struct qrcpt *r)
{
	if (!qrcpt_is_open(r))
		return STR_NULL;
	if (rcpt_is_owed((enum rcpt_state)r->state))
		return STR("a notification");
	switch ((enum rcpt_route)r->route) {
	case ROUTE_LOCAL:
		return STR("the store");
	case ROUTE_PIPE:
		return r->hop->next_hop;
	case ROUTE_REMOTE:
		return dest_of(r)->name;
	}
	return STR_NULL;
}

static struct str
at_time(uint64_t ms, struct arena *a)
{
	char iso[25];

	clock_iso(ms * 1000, iso);
	return arena_dup(a, str_from(iso, strnlen(iso, sizeof iso)));
}

static struct str
in_line(const struct qdest *d, struct arena *a)
{
	if (d->paused && d->fails)
		return arena_printf(a, "not reachable %u times in a row; tried again at %.*s", d->fails,
		    STR_ARG(at_time(d->paused_until_ms, a)));
	if (d->kind == DEST_SITE && d->gap_ms)
		return arena_printf(a, "in line: %u deliveries wait, and the site asked to be sent one "
		    "every %u ms", d->waiting, d->gap_ms);
	if (d->kind == DEST_SITE)
		return arena_printf(a, "in line: %u deliveries wait, %u of at most %u run", d->waiting,
		    d->running, site_limit(d));
	return arena_printf(a, "in line: %u deliveries wait, %u run", d->waiting, d->running);
}

struct str
why_waits(const struct qmsg *m, const struct qrcpt *r, struct arena *a)
{
	if (!qrcpt_is_open(r))
		return STR("it does not wait");
	if (r->flags & RCPT_BUSY)
		return STR("being delivered now");
	if (m->flags & MSG_HELD)
		return m->flags & MSG_UNCERTAIN ? STR("held: it may have been delivered already") :
		    STR("held");
	if (r->flags & RCPT_COVERED && dest_of(r))
		return in_line(dest_of(r), a);
	if (!m->attempts)
		return arena_printf(a, "to be sent at %.*s", STR_ARG(at_time(m->next_ms, a)));
	return arena_printf(a, "%u tries so far, the next at %.*s", m->attempts,
	    STR_ARG(at_time(m->next_ms, a)));
}

/* ---- sites ---- */

static void
count(void)
{
	struct qmsg *m;

	LIST_FOREACH(m, &queued.q.all, struct qmsg, all)
		for (uint32_t i = 0; i < m->n_rcpts; i++)
			if (m->rcpts[i].route == ROUTE_REMOTE && m->rcpts[i].state == RCPT_WAITING)
				dest_of(&m->rcpts[i])->counted++;
}

void
why_sites(void (*fn)(void *arg, const struct queue_site *s), void *arg)
{
	struct qdest *d;
	size_t at = 0;

	count();
	while ((d = strmap_next(&queued.sites, &at, NULL))) {
		struct queue_site s = {
			.name = d->name,
			.recipients = d->counted,
			.waiting = d->waiting,
			.running = d->running,
			.limit = site_limit(d),
			.failures = d->fails,
			.paused_until_ms = d->paused ? d->paused_until_ms : 0,
			.gap_ms = d->gap_ms,
			.text = d->why ? d->why->text : STR_NULL,
		};

		d->counted = 0;
		if (s.recipients || s.failures || s.gap_ms || s.running)
			fn(arg, &s);
	}
}
