/*
 * Tickets; see ticket.h. A sealed ticket is
 *
 *	u8 version = 1 | u64 account | u64 generation | u64 channel | u64 expires |
 *	u32 volume | u32 slot | u32 rights | u16 length of user | user | 32 bytes MAC
 *
 * little-endian; the MAC is HMAC-SHA256 with the ticket key over all before it.
 * Nothing is looked at before the MAC fits. Authd seals, maild and submitd open;
 * for everybody else a ticket is opaque.
 */
#include "lib/proc/ticket.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "lib/base/clock.h"

#define TICKET_VERSION 1
#define MAC_LEN 32
#define FIXED (1 + 4 * 8 + 3 * 4 + 2)
#define USER_MAX 1024

static bool
mac(const unsigned char key[static 32], struct str body, unsigned char ret[static MAC_LEN])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, 32, (const unsigned char *)body.p, body.n, ret, &n) &&
	    n == MAC_LEN;
}

void
ticket_seal(struct buf *b, const unsigned char key[static 32], const struct ticket *t)
{
	size_t start = b->n;
	unsigned char m[MAC_LEN];
	struct str user = str_head(t->user, USER_MAX);

	buf_putc(b, TICKET_VERSION);
	buf_le64(b, t->account);
	buf_le64(b, t->generation);
	buf_le64(b, t->channel);
	buf_le64(b, t->expires_ms);
	buf_le32(b, t->volume);
	buf_le32(b, t->slot);
	buf_le32(b, t->rights);
	buf_le16(b, (uint16_t)user.n);
	buf_str(b, user);
	if (b->over)
		return;
	if (!mac(key, str_skip(buf_view(b), start), m)) {
		buf_truncate(b, start);
		b->over = true;
		return;
	}
	buf_put(b, m, sizeof m);
}

int
ticket_open(struct str sealed, const unsigned char key[static 32], uint64_t channel,
    struct ticket *ret)
{
	struct str body = str_head(sealed, sealed.n - MAC_LEN);
	unsigned char m[MAC_LEN];
	struct ticket t;

	if (sealed.n < FIXED + MAC_LEN || sealed.n > FIXED + USER_MAX + MAC_LEN)
		return -EBADMSG;
	if (!mac(key, body, m) || CRYPTO_memcmp(m, body.p + body.n, MAC_LEN) ||
	    body.p[0] != TICKET_VERSION || le16_get(body.p + FIXED - 2) != body.n - FIXED)
		return -EBADMSG;
	t.account = le64_get(body.p + 1);
	t.generation = le64_get(body.p + 9);
	t.channel = le64_get(body.p + 17);
	t.expires_ms = le64_get(body.p + 25);
	t.volume = le32_get(body.p + 33);
	t.slot = le32_get(body.p + 37);
	t.rights = le32_get(body.p + 41);
	t.user = str_skip(body, FIXED);
	if (t.channel != channel)
		return -EACCES;
	if (clock_real_us() / 1000 >= t.expires_ms)
		return -ETIME;
	*ret = t;
	return 0;
}
