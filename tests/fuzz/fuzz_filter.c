/* Messages of filterd, edits of a message by what came, and fields of Authentication-Results. What is
 * taken can be written and is the same when it is read again. */
#include <stdlib.h>

#include "lib/accept/authres.h"
#include "lib/accept/filtered.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(struct str in, struct arena *a)
{
	struct buf b = { 0 }, c = { 0 };
	struct filter_ask q, again;

	if (!filter_ask_get(in, a, &q)) {
		filter_ask_put(&b, &q);
		if (filter_ask_get(buf_view(&b), a, &again))
			abort();
		filter_ask_put(&c, &again);
		if (!str_eq(buf_view(&b), buf_view(&c)))
			abort();
	}
	buf_done(&b);
	buf_done(&c);
}

static void
answer(struct str in, struct arena *a)
{
	struct buf b = { 0 }, c = { 0 }, message = { 0 };
	struct filter_answer r, again;

	if (!filter_answer_get(in, a, &r)) {
		struct filter_notes none = { 0 }, notes = { r.notes, r.n_notes };

		filter_answer_put(&b, &r);
		if (filter_answer_get(buf_view(&b), a, &again))
			abort();
		filter_answer_put(&c, &again);
		if (!str_eq(buf_view(&b), buf_view(&c)))
			abort();
		filtered_edit(STR("A: b\r\nC: d\r\n\r\nBody\r\n"), r.edits, r.n_edits, in, &message);
		buf_clear(&message);
		authres_put(&message, STR("mx.test"), &none, &notes);
	}
	buf_done(&b);
	buf_done(&c);
	buf_done(&message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct filter_note note = { STR("auth.x"), str_from(data, size) };
	struct filter_notes none = { 0 }, notes = { &note, 1 };
	struct arena *a = arena_new(0);
	struct buf b = { 0 };

	ask(str_from(data, size), a);
	answer(str_from(data, size), a);
	authres_names(str_from(data, size), STR("mx.test"));
	authres_put(&b, STR("mx.test"), &none, &notes);
	buf_done(&b);
	arena_free(&a);
	return 0;
}
