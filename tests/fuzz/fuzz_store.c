/*
 * What maild reads from disk besides SQLite: names of message files, the ledger, slots
 * of posthorn-folder. The first byte chooses. Checksums are put right first, so that
 * what stands behind them is reached.
 */
#include "maildir/index_private.h"

#include <stdlib.h>

#include "lib/base/crc32c.h"
#include "maildir/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_name(struct str s)
{
	struct msg_name a, b;
	struct buf again = { 0 };

	if (!name_parse(s, &a))
		return;
	if (a.uid && a.base.n <= NAME_MAX_LEN / 2) {
		name_cur(&again, a.base, a.uid, a.email);
		if (!name_parse(buf_view(&again), &b) || !str_eq(a.base, b.base) || a.uid != b.uid ||
		    a.email != b.email || a.size != b.size || a.id != b.id || a.origin != b.origin)
			abort();
	}
	buf_done(&again);
}

static void
try_ledger(struct str s)
{
	struct ledger *l = ledger_new(), *again = ledger_new();
	struct buf in = { 0 }, out = { 0 };
	uint64_t run = s.n >= 16 ? le64_get(s.p + 8) : 0;

	buf_str(&in, s);
	buf_le32(&in, crc32c(0, s.p, s.n));
	if (ledger_load(l, buf_view(&in), run) == 0) {
		ledger_save(l, run, &out);
		if (ledger_load(again, buf_view(&out), run) != 0 || ledger_count(again) != ledger_count(l))
			abort();
	}
	buf_done(&in);
	buf_done(&out);
	ledger_free(&l);
	ledger_free(&again);
}

static void
try_folder(struct str s)
{
	unsigned char slot[FOLDER_SLOT] = { 0 }, again[FOLDER_SLOT];
	struct folder_file f, g;

	memcpy(slot, s.p, s.n < sizeof slot ? s.n : sizeof slot);
	le32_put(slot + 8, crc32c(0, slot + 12, sizeof slot - 12));
	if (!folder_slot_get(slot, &f))
		return;
	folder_slot_put(again, &f);
	if (!folder_slot_get(again, &g) || strcmp(f.name, g.name) || strcmp(f.role, g.role) ||
	    f.reserved != g.reserved || f.sequence != g.sequence)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_from(data, size);

	if (size == 0)
		return 0;
	s = str_skip(s, 1);
	if (data[0] == 'n')
		try_name(s);
	else if (data[0] == 'l')
		try_ledger(s);
	else
		try_folder(s);
	return 0;
}
