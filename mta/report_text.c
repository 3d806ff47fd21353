/*
 * The part for people: what happened, to whom, why, and what to do about it. Plain
 * text, UTF-8, one paragraph for each kind of outcome and a block for each
 * recipient. `advices` says what the status codes of RFC 3463 (and its registry) ask
 * of the sender.
 */
#include <stdio.h>

#include "lib/base/text.h"
#include "lib/mail/date.h"
#include "lib/mail/header.h"
#include "lib/mail/word.h"
#include "mta/report_private.h"

#define SUBJECT_SHOWN 300u

/* By the status without its class; the subject alone stands for its other details. */
static const struct advice {
	const char *code, *text;
} advices[] = {
	{ "1.1", "There is no mailbox of this name there. Check the address for mistakes." },
	{ "1.2", "The part behind the @ names no system that takes mail. Check it for mistakes." },
	{ "1.3", "This is not a valid address. Check it for mistakes." },
	{ "1.6", "The mailbox has moved, and its new address is not known here." },
	{ "1.10", "The domain says that it takes no mail. Check the part behind the @." },
	{ "1", "Check the address for mistakes." },
	{ "2.1", "The mailbox exists but takes no mail now." },
	{ "2.2", "The mailbox is full. Send again later, or tell the recipient another way." },
	{ "2.3", "The message is larger than this mailbox takes. Send less, or a link." },
	{ "2", "The mailbox takes no mail now." },
	{ "3.4", "The message is larger than the other system takes. Send less, or a link." },
	{ "3", "The other system had a problem of its own. Send again later." },
	{ "4.1", "The other system does not answer. Send again later if it still matters." },
	{ "4.4", "No way to the recipient's system is known. Check the part behind the @." },
	{ "4.6", "The message went round in circles: the addresses there point at each other." },
	{ "4.7", "It was tried until its time was over. Send again if it still matters." },
	{ "4", "The other system could not be reached." },
	{ "5.3", "The message has too many recipients. Send it to fewer at a time." },
	{ "5", "The two systems did not understand each other; tell your postmaster." },
	{ "6.7", "The recipient's system takes no addresses with letters beyond ASCII." },
	{ "6", "The recipient's system cannot take a message of this form." },
	{ "7.1", "The recipient's system takes no such mail from you. Ask the recipient "
	    "another way, or your postmaster." },
	{ "7", "The recipient's system refused the message as a matter of its policy." },
};

static const char *
advice_of(struct str status)
{
	struct str code = str_skip(status, 2);
	struct str subject = str_head(code, (size_t)(str_chr(code, '.') + 1));

	if (subject.n)
		subject.n--;
	for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
		if (str_eq(code, str_c(advices[i].code)) || str_eq(subject, str_c(advices[i].code)))
			return advices[i].text;
	return NULL;
}

/* ---- one recipient ---- */

static void
put_labelled(struct buf *out, struct arena *a, const char *label, struct str text)
{
	wrap_put(out, 4, arena_printf(a, "%s %.*s", label, STR_ARG(text)));
}

static void
put_reason(struct buf *out, const struct bounce_rcpt *r, struct arena *a)
{
	struct str text = safe_text(a, r->text, true, REPORT_TEXT_MAX);
	struct str code = r->smtp ? arena_printf(a, "%u ", r->smtp) : STR("");
	struct str enhanced = safe_text(a, r->enhanced, false, 16);

	if (!r->text.n)
		return;
	text = arena_printf(a, "%.*s%.*s%s%.*s", STR_ARG(code), STR_ARG(enhanced),
	    enhanced.n ? " " : "", STR_ARG(text));
	if (r->mta.n)
		put_labelled(out, a, arena_printf(a, "%.*s said:",
		    STR_ARG(safe_text(a, r->mta, false, 255))).p, text);
	else
		put_labelled(out, a, "Reason:", text);
}

static void
put_date(struct buf *out, const char *label, uint64_t ms)
{
	if (!ms)
		return;
	buf_printf(out, "    %s ", label);
	date_put_rfc5322(out, (int64_t)(ms / 1000), 0);
	buf_putc(out, '\n');
}

static void
put_rcpt(struct buf *out, const struct bounce_rcpt *r, struct arena *a)
{
	struct str status = report_status(r, a);
	const char *advice = r->action == BOUNCE_FAILED ? advice_of(status) : NULL;
	struct str address = safe_text(a, r->address, true, 600);

	buf_putc(out, '\n');
	wrap_put(out, 2, arena_printf(a, "<%.*s>", STR_ARG(address)));
	if (r->original.n && !str_ieq(r->original, r->address))
		put_labelled(out, a, "Sent to", arena_printf(a, "<%.*s>",
		    STR_ARG(safe_text(a, r->original, true, 600))));
	if (r->action == BOUNCE_RELAYED && r->mta.n)
		put_labelled(out, a, "Handed to", safe_text(a, r->mta, false, 255));
	else if (r->action <= BOUNCE_DELAYED)
		put_reason(out, r, a);
	if (advice)
		wrap_put(out, 4, str_c(advice));
	if (r->action == BOUNCE_DELAYED)
		put_date(out, "Will be tried until", r->will_retry_until_ms);
}

/* ---- the paragraphs ---- */

static struct str
intro_failed(const struct report *r)
{
	if (r->words.failed.n)
		return r->words.failed;
	if (r->request->kind == BOUNCE_POSTMASTER)
		return STR("A message could not be delivered, and it has no sender who could be "
		    "told, or the sender cannot be reached.");
	return STR("Your message could not be delivered to the following, and no further try "
	    "will be made:");
}

static struct str
intro(const struct report *r, enum bounce_action action)
{
	switch (action) {
	case BOUNCE_FAILED:
		return intro_failed(r);
	case BOUNCE_DELAYED:
		return r->words.delayed.n ? r->words.delayed :
		    STR("Your message has not been delivered yet to the following. It is still "
			"being tried: there is no need to send it again.");
	case BOUNCE_DELIVERED:
		return r->words.success.n ? r->words.success :
		    STR("Your message was delivered to:");
	case BOUNCE_RELAYED:
		return r->words.success.n ? r->words.success :
		    STR("Your message was handed on to systems that tell nothing further of the "
			"following:");
	default:
		return r->words.success.n ? r->words.success :
		    STR("Your message was sent on to all behind the following addresses:");
	}
}

static size_t
put_action(struct buf *out, const struct report *r, enum bounce_action action, size_t listed,
    struct arena *a)
{
	const struct bounce_request *q = r->request;
	bool any = false;

	for (size_t i = 0; i < q->n_rcpts && listed < REPORT_LISTED_MAX; i++) {
		if (q->rcpts[i].action != action)
			continue;
		if (!any) {
			buf_putc(out, '\n');
			wrap_put(out, 0, safe_text(a, intro(r, action), true, REPORT_TEXT_MAX));
		}
		any = true;
		put_rcpt(out, &q->rcpts[i], a);
		listed++;
	}
	return listed;
}

/* ---- which message it was ---- */

static void
put_line(struct buf *out, const char *name, struct str value, struct arena *a)
{
	if (value.n)
		wrap_put(out, 2, arena_printf(a, "%s %.*s", name, STR_ARG(value)));
}

static void
put_subject(struct buf *out, const struct report *r, struct arena *a)
{
	struct buf b = { .max = 64 << 10 };
	struct str raw;

	if (header_find(r->message, STR("Subject"), &raw)) {
		word_decode(str_head(raw, 4096), &b);
		put_line(out, "Subject:", safe_text(a, buf_view(&b), true, SUBJECT_SHOWN), a);
	}
	buf_done(&b);
}

static void
put_message(struct buf *out, const struct report *r, struct arena *a)
{
	struct str raw;

	buf_puts(out, "\nThe message:\n\n");
	put_subject(out, r, a);
	if (r->request->kind == BOUNCE_POSTMASTER)
		put_line(out, "Sender:", arena_printf(a, "<%.*s>",
		    STR_ARG(safe_text(a, r->request->sender, true, 600))), a);
	if (header_find(r->message, STR("Date"), &raw))
		put_line(out, "Date:", safe_text(a, raw, true, 100), a);
	if (header_find(r->message, STR("Message-ID"), &raw))
		put_line(out, "Message-ID:", safe_text(a, raw, true, 600), a);
	buf_printf(out, "  Queue id: %016llx\n", (unsigned long long)r->request->spool_id);
}

static void
put_end(struct buf *out, const struct report *r, enum report_return ret, struct arena *a)
{
	struct str contact = safe_text(a, r->words.contact, true, 600);

	buf_putc(out, '\n');
	if (contact.n)
		wrap_put(out, 0, arena_printf(a, "For help, turn to %.*s", STR_ARG(contact)));
	else
		wrap_put(out, 0, arena_printf(a, "For help, write to <postmaster@%.*s> and send "
		    "this report with it.", STR_ARG(r->hostname)));
	if (ret == RETURN_ALL)
		buf_puts(out, "The message itself is attached.\n");
	else if (ret == RETURN_HEADER)
		buf_puts(out, "The header of the message is attached.\n");
}

void
report_text(struct buf *out, const struct report *r, enum report_return ret, struct arena *a)
{
	size_t listed = 0, n = r->request->n_rcpts;

	wrap_put(out, 0, arena_printf(a, "This is the mail system of %.*s.", STR_ARG(r->hostname)));
	for (enum bounce_action i = BOUNCE_FAILED; i < BOUNCE_ACTION_MAX; i++)
		listed = put_action(out, r, i, listed, a);
	if (listed < n)
		buf_printf(out, "\n  ... and %zu more, listed in the details of this report.\n",
		    n - listed);
	put_message(out, r, a);
	put_end(out, r, ret, a);
}
