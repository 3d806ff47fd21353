/*
 * Frames and the codecs of the house's messages. Every getter sees the same
 * bytes: none may read outside them, and what the shared ones take they must
 * write back so that it reads the same.
 */
#include <stdlib.h>

#include "lib/client/auth_admin.h"
#include "lib/client/queue.h"
#include "lib/client/store_wire.h"
#include "lib/mail/envelope.h"
#include "lib/proc/ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
auth_codecs(struct str body, struct arena *arena)
{
	struct { struct resolve_answer a; struct login_request b; struct login_answer c;
		struct account_record d; struct auth_changed e; struct auth_admin f;
		struct auth_row g; struct str s; uint64_t id; struct wire_error we;
		struct resolve_request q; } m;
	struct str rest = body;
	struct buf b = { 0 };

	resolve_request_get(body, &m.q);
	if (!resolve_answer_get(body, arena, &m.a)) {
		struct resolve_answer again;

		resolve_answer_put(&b, &m.a);
		if (resolve_answer_get(buf_view(&b), arena, &again) || again.n_targets != m.a.n_targets ||
		    !str_eq(again.address, m.a.address) || again.open != m.a.open)
			abort();
		buf_clear(&b);
	}
	login_answer_get(body, &m.c);
	account_record_get(body, &m.d);
	auth_changed_get(body, &m.e);
	auth_admin_get(body, &m.f);
	auth_ask_get(body, &m.s);
	auth_ask_id_get(body, &m.id);
	wire_error_get(body, &m.we);
	while (auth_row_next(&rest, &m.g) > 0)
		;
	if (!login_request_get(body, &m.b)) {
		struct login_request again;

		login_request_put(&b, &m.b);
		if (login_request_get(buf_view(&b), &again) || !str_eq(again.user, m.b.user))
			abort();
	}
	buf_done(&b);
}

static void
other_codecs(struct str body, struct arena *a)
{
	struct { struct envelope a; struct deliver_request b; struct deliver_result *c;
		struct low_water d; struct store_request e; struct store_answer f;
		struct store_mailbox *g; struct store_delta h; } m;
	struct ticket t;
	size_t n;

	envelope_get(body, a, &m.a);
	deliver_request_get(body, a, &m.b);
	deliver_results_get(body, a, &m.c, &n);
	low_water_get(body, a, &m.d);
	store_request_get(body, -1, a, &m.e);
	store_answer_get(body, a, &m.f);
	store_mailboxes_get(body, a, &m.g, &n);
	store_delta_get(body, a, &m.h);
	ticket_open(body, (const unsigned char *)"0123456789abcdef0123456789abcdef", 1, &t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_from(data, size);
	struct arena *a = arena_new(0);
	struct frame f;
	ssize_t n = wire_parse(in, &f);

	if (n > 0 && (size_t)n <= size)
		in = f.body;
	auth_codecs(in, a);
	other_codecs(in, a);
	arena_free(&a);
	return 0;
}
