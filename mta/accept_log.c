/* The log lines and counters of lib/accept; see accept_log.h. */
#include "mta/accept_log.h"

#include "lib/base/log.h"
#include "lib/proc/metrics.h"

static struct metric no_copies = METRIC_COUNTER("accept_copies_unknown_total", NULL,
    "Copies of messages that were to go to an address that nobody has");

static struct metric costly = METRIC_COUNTER("accept_checks_costly_total", NULL,
    "Messages put off since a pattern of checks took too long");

#define CHECKED(action) METRIC_COUNTER("accept_checks_total", "action=\"" action "\"", \
    "Rules of checks that fitted, by what they do")
static struct metric rejected = CHECKED("reject"), discarded = CHECKED("discard"),
    held = CHECKED("hold"), redirected = CHECKED("redirect"), copied = CHECKED("bcc"),
    changed = CHECKED("change"), told = CHECKED("log");

static struct metric *
counter(enum rule_action a)
{
	switch (a) {
	case RULE_REJECT: return &rejected;
	case RULE_DISCARD: return &discarded;
	case RULE_HOLD: return &held;
	case RULE_REDIRECT: return &redirected;
	case RULE_BCC: return &copied;
	case RULE_WARN:
	case RULE_INFO: return &told;
	default: return &changed;
	}
}

static void
log_check(const struct accept_request *r, const struct accept_note *n)
{
	const struct envelope *e = r->env;
	struct str to = e->n_rcpts ? e->rcpts[0].address : STR_NULL;

	metric_add(counter(n->action), 1);
	if (n->action == RULE_WARN)
		LOG_WARN("accept.check", L_STR("txn", e->trace), L_C("action", rule_action_name(n->action)),
		    L_STR("text", n->what), L_STR("line", str_head(n->line, 200)), L_STR("from", e->sender),
		    L_STR("to", to));
	else
		LOG_INFO("accept.check", L_STR("txn", e->trace), L_C("action", rule_action_name(n->action)),
		    L_STR("text", n->what), L_STR("line", str_head(n->line, 200)), L_STR("from", e->sender),
		    L_STR("to", to));
}

void
accept_log(const struct accept_request *r, const struct accept_note *n)
{
	switch (n->kind) {
	case ACCEPT_NO_COPY:
		metric_add(&no_copies, 1);
		LOG_ERROR("accept.copy_unknown", L_STR("txn", r->env->trace), L_STR("to", n->what),
		    L_C("text", "nobody has this address: there is no copy"));
		return;
	case ACCEPT_CHECK:
		log_check(r, n);
		return;
	case ACCEPT_CHECK_COSTLY:
		metric_add(&costly, 1);
		LOG_ERROR("accept.check_costly", L_STR("txn", r->env->trace), L_STR("rule", n->what));
		return;
	}
}
