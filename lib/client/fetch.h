/*
 * fetchd as its callers see it: what is asked of web servers, by HTTP over TLS.
 *
 * fetchd looks the host up by dnsd, connects only to what that answered, and verifies the
 * certificate for the URL's host (setting fetch.ca-file). Addresses that are not
 * public (loopback, private, link-local, ...) are refused, since URLs often come from
 * outside; fetch.private-networks names exceptions. Redirects are answers like any other:
 * they are never followed. Every request ends within its timeout.
 *
 * A call may be made on a coroutine (it yields) or by a thread that may block.
 */
#ifndef LIB_CLIENT_FETCH_H
#define LIB_CLIENT_FETCH_H

#include "lib/proc/chan.h"

enum {
	MSG_FETCH = MSG_TYPE(ROLE_FETCHD, 1),
	MSG_FETCH_STS = MSG_TYPE(ROLE_FETCHD, 2), /* lib/client/sts.h */
};

enum {
	FETCH_URL_MAX = 2048,
	FETCH_HEADERS_MAX = 16,
	FETCH_BODY_MAX = 512 << 10,     /* bytes, of a request and of an answer */
	FETCH_TIMEOUT_MAX_MS = 120 * 1000,
};

struct fetch_request {
	bool post;
	/* The URL is the administrator's (read from the settings): its host may have a private
	 * address, and "http:" will do. Granted to authd only. */
	bool trusted;
	struct str url;                 /* "https://host[:port]/path", ASCII, no user in it */
	struct str *headers;            /* "Authorization: Bearer x", each one line */
	size_t n_headers;
	struct str type;                /* post: the content type of body */
	struct str body;
	uint64_t max_bytes;             /* of the answer's body; 0: FETCH_BODY_MAX */
	uint64_t timeout_ms;            /* of all of it; 0: 30 s */
};

enum fetch_status {
	FETCH_OK = 1,    /* a server answered; http says how */
	FETCH_REFUSED,   /* not asked: no such URL, a private address, too many requests */
	FETCH_NO_HOST,   /* no address: the DNS has none, or gave no answer */
	FETCH_NO_CONNECTION,
	FETCH_TLS,       /* the handshake failed, or the certificate is not the host's */
	FETCH_TIMEOUT,
	FETCH_TOO_LONG,  /* the body is longer than max_bytes */
	FETCH_BROKEN,    /* what came is not HTTP, or ended too soon */
};
/* "ok", "refused", "no-host", "no-connection", "tls", "timeout", "too-long", "broken". */
const char *fetch_status_name(enum fetch_status s);

struct fetch_answer {
	enum fetch_status status;
	unsigned http;                  /* 200; 0 when no server answered */
	struct str type;                /* the Content-Type field as it came, or empty */
	struct str location;            /* of a redirect, or empty */
	struct str body;
	struct str why;                 /* when not FETCH_OK: for the log */
};

/* ret and what it points to live in the arena. 0 when fetchd answered, whatever the
 * status; negative: it cannot be reached now. */
int fetch(const struct fetch_request *q, struct arena *a, struct fetch_answer *ret);

/* The codecs. Strings of what a getter returns point into body. 0, -EPROTO, -ENOMEM. */
void fetch_request_put(struct buf *b, const struct fetch_request *q);
int fetch_request_get(struct str body, struct arena *a, struct fetch_request *ret);
void fetch_answer_put(struct buf *b, const struct fetch_answer *v);
int fetch_answer_get(struct str body, struct fetch_answer *ret);

#endif
