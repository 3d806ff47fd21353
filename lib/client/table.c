/* The codecs of tabled's messages; see table.h. */
#include "lib/client/table.h"

#include <errno.h>

enum { Q_TABLE = 1, Q_KEY };
enum { A_VALUE = 1 };

void
table_question_put(struct buf *b, const struct table_question *q)
{
	wire_str(b, Q_TABLE, q->table);
	wire_str(b, Q_KEY, q->key);
}

int
table_question_get(struct str body, struct table_question *ret)
{
	struct table_question q = { 0 };
	struct wire_field f;
	int r;

	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag == Q_TABLE)
			q.table = f.v;
		else if (f.tag == Q_KEY)
			q.key = f.v;
	}
	if (r < 0 || !q.table.n || q.table.n > TABLE_NAME_MAX || !q.key.n || q.key.n > TABLE_ASK_MAX)
		return -EPROTO;
	*ret = q;
	return 0;
}

void
table_answer_put(struct buf *b, const struct table_answer *v)
{
	for (size_t i = 0; i < v->n; i++)
		wire_str(b, A_VALUE, v->values[i]);
}

int
table_answer_get(struct str body, struct arena *a, struct table_answer *ret)
{
	struct table_answer v = { 0 };
	struct wire_field f;
	size_t n = 0, bytes = 0;
	int r = wire_count(body, A_VALUE, &n);

	if (r || n > TABLE_VALUES_MAX)
		return -EPROTO;
	v.values = ARENA_ARRAY(a, struct str, n + 1);
	if (!v.values)
		return -ENOMEM;
	while ((r = wire_next(&body, &f)) > 0) {
		if (f.tag != A_VALUE)
			continue;
		v.values[v.n++] = f.v;
		bytes += f.v.n;
	}
	if (r < 0 || bytes > TABLE_ANSWER_MAX)
		return -EPROTO;
	*ret = v;
	return 0;
}
