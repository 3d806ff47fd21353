/*
 * Posthorn's plugin interface: the only header that a plugin needs.
 *
 * A plugin is a shared object with one exported function, ph_plugin_entry, which
 * returns a struct ph_plugin: who it is, what it wants, which hooks it has. The host
 * (filterd) loads it into a process of its own, asks it about connections and messages
 * as smtpd and submitd see them, and turns its answers into replies and edits.
 *
 *	#include <posthorn/plugin.h>
 *
 *	static enum ph_action
 *	message(struct ph_call *c)
 *	{
 *		ph_header_add(c, PH_TOP, ph_c("X-Seen"), ph_c("yes"));
 *		return PH_CONTINUE;
 *	}
 *
 *	static const struct ph_plugin plugin = {
 *		PH_PLUGIN_HEAD("seen", "1.0"),
 *		.wants = PH_CAP_HEADERS,
 *		.message = message,
 *	};
 *	PH_PLUGIN(plugin)
 *
 * What holds:
 *  - A plugin cannot lose mail. It may crash, hang or exit: the client is told to come
 *    again (or what `on-error` of its block says), and the host is started anew.
 *  - Calls of hooks. Without a flag at most one thread is in the plugin at a time. Host
 *    functions marked `waits` let other calls in meanwhile; PH_NO_INTERLEAVE forbids that,
 *    PH_THREADSAFE asks for no lock at all.
 *  - Each call has a deadline (ph_number(c, PH_DEADLINE_MS) is what is left). Whoever
 *    passes it is ended, and his answer is not waited for.
 *  - Memory that the host hands out is the call's: valid until the hook returns, never
 *    to be freed. Strings have a length; those of the host have a NUL behind them too.
 *  - The host may be started anew between two hooks of one connection: each call brings
 *    all facts, but data that the plugin hung on the session or transaction may be gone.
 *
 * Versions. PH_ABI changes only when an old plugin cannot be served any more. Within one
 * ABI structs grow at their end, enums get new values, struct ph_api new functions: an
 * older plugin loads on a newer host and the reverse. A host takes fields that it does not know for
 * absent and calls no hook of which the plugin does not know; a plugin finds out whether the host
 * has a function by PH_HOST_HAS; facts that the host does not know are empty or 0. One
 * ABI is served for two minor releases at least after its successor has come.
 */
#ifndef POSTHORN_PLUGIN_H
#define POSTHORN_PLUGIN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PH_ABI 1

/* Borrowed bytes. */
struct ph_str {
	const char *p;
	size_t n;
};

struct ph_call; /* one call of one hook: opaque */
struct ph_conf; /* the plugin's options while it starts: opaque */

/* ---- what a hook answers ---- */

/*
 * With PH_REJECT and PH_TEMPFAIL the hook may say by ph_reply what the client is told;
 * else that is 550 5.7.1 or 451 4.7.1. Answers of hooks that only report (end, close) are
 * not looked at.
 */
enum ph_action {
	PH_CONTINUE = 0,   /* nothing against it */
	PH_ACCEPT = 1,     /* the same, and this plugin is not asked any more about: the connection
	                    * (connect, helo, auth), the message (mail, data, message); of a recipient
	                    * the same as PH_CONTINUE */
	PH_REJECT = 2,     /* 5xx: of the connection (which ends), the command, the message */
	PH_TEMPFAIL = 3,   /* 4xx */
	PH_DISCARD = 4,    /* message: the client hears 250, nobody gets it. Other hooks: as reject */
	PH_QUARANTINE = 5, /* message: taken and held in the queue, the reason by ph_reply */
};

/* ---- facts of a call ---- */

/* ph_text: empty when it is not known (yet). */
enum ph_text {
	PH_CLIENT_IP = 1,   /* "192.0.2.1", "2001:db8::1"; empty for mail of the house itself */
	PH_CLIENT_NAME = 2, /* the client's host name where a trusted proxy told it */
	PH_HELO = 3,        /* what HELO, EHLO, LHLO said */
	PH_USER = 4,        /* the address of the account that logged in */
	PH_LISTENER = 5,    /* the protocol: "smtp", "submission", "lmtp"; "local": submitd */
	PH_TLS = 6,         /* "TLSv1.3 with cipher X (256 bits)" */
	PH_SESSION = 7,     /* id of the connection, as the log has it */
	PH_TRANSACTION = 8, /* id of the transaction, as the log has it */
	PH_HOSTNAME = 9,    /* our own name */
	PH_SENDER = 10,     /* of MAIL, without angle brackets; empty: the null sender */
	PH_ENVID = 11,      /* ENVID of the sender's (RFC 3461), decoded */
	PH_NAME = 12,       /* the name of this plugin's block */
	PH_DATA_DIR = 13,   /* the plugin's own folder (PH_CAP_FILES) */
};

/* ph_number: 0 when it is not known. */
enum ph_number {
	PH_RCPTS = 1,       /* how many recipients there are, in the rcpt hook with the one asked about */
	PH_SIZE = 2,        /* bytes: in mail what SIZE announced, in message the message's */
	PH_FLAGS = 3,       /* PH_F_* */
	PH_DEADLINE_MS = 4, /* what is left of the call's time */
	PH_NOW_MS = 5,      /* milliseconds since 1970 */
	PH_HEADERS = 6,     /* message: how many header fields there are */
	PH_PARTS = 7,       /* message: how many MIME parts there are, the message itself being 0 */
	PH_OUTCOME = 8,     /* end: 0 the transaction was given up, else the reply (250, 550, ...) */
	PH_SPOOL_ID = 9,    /* end: the id in the queue */
};

enum {
	PH_F_ESMTP = 1, PH_F_SMTPUTF8 = 2, PH_F_8BIT = 4, PH_F_REQUIRETLS = 8,
	PH_F_SUBMITTED = 16,  /* from a client that logged in, or from the house itself */
	PH_F_LOCAL = 32,      /* made by the house: a bounce, a vacation answer, `sendmail` */
	PH_F_DRY_RUN = 64,    /* `posthorn plugin test`: write nothing that lasts */
};

struct ph_rcpt {
	struct ph_str address; /* what is delivered to */
	struct ph_str said;    /* what RCPT said */
};

struct ph_header {
	struct ph_str name;
	struct ph_str value;   /* as it came, still folded, without the last line end */
};

struct ph_part {
	struct ph_str type;    /* "text/plain", lower case */
	struct ph_str charset; /* lower case, or empty */
	struct ph_str name;    /* file name, decoded, or empty */
	uint32_t depth;        /* 0 the message, 1 its parts ... */
	uint32_t flags;        /* PH_PART_* */
	uint64_t size;         /* of the body as it came */
};
enum { PH_PART_MULTI = 1, PH_PART_ATTACHMENT = 2 };

/* Records of one type, in wire form (RFC 1035 section 3.3). */
struct ph_dns {
	uint32_t status;       /* PH_DNS_* */
	uint32_t ttl;          /* seconds */
	uint32_t secure;       /* 1: validated by DNSSEC */
	uint32_t n;
	const struct ph_str *rdata; /* n of them; of TXT the strings joined */
};
enum { PH_DNS_OK = 1, PH_DNS_NODATA = 2, PH_DNS_NXDOMAIN = 3, PH_DNS_FAILED = 4, PH_DNS_BOGUS = 5 };

/* ---- capabilities: wanted by the plugin, granted by its block (`grant headers, dns`) ---- */

enum {
	PH_CAP_HEADERS = 1,    /* headers: edit header fields */
	PH_CAP_RCPTS = 2,      /* recipients: add and remove recipients */
	PH_CAP_SENDER = 4,     /* sender: change the envelope sender */
	PH_CAP_BODY = 8,       /* body: replace the body */
	PH_CAP_DNS = 16,       /* dns: ask the house's resolver */
	PH_CAP_NET = 32,       /* network: make connections of its own (sandbox net or none) */
	PH_CAP_FILES = 64,     /* files: read and write in its own folder */
};

/* ---- options: what may stand in the plugin's block, checked by the host. Any value may be
 * written as `env NAME` or `file "PATH"` (the file's content) there. ---- */

enum ph_option_type {
	PH_OPT_SWITCH = 1,     /* on, off: 1, 0 */
	PH_OPT_NUMBER = 2,
	PH_OPT_SIZE = 3,       /* 25M: bytes */
	PH_OPT_TIME = 4,       /* 5m: milliseconds */
	PH_OPT_TEXT = 5,
	PH_OPT_CHOICE = 6,     /* one of words: its index */
	PH_OPT_LIST = 7,       /* texts; may be given several times */
};

struct ph_option {
	const char *name;      /* "delay"; NULL ends the table */
	enum ph_option_type type;
	const char *preset;    /* as it would stand in the block; NULL: must be given. Lists: "" is none */
	int64_t min, max;      /* numbers, sizes, times; both 0: any that is not negative */
	const char *words;     /* of a choice: "low|middle|high" */
	const char *help;      /* one sentence */
};

/* ---- the plugin ---- */

enum { PH_THREADSAFE = 1, PH_NO_INTERLEAVE = 2 };

struct ph_plugin {
	uint32_t abi, size, option_size; /* PH_PLUGIN_HEAD fills these */
	uint32_t flags;
	const char *name, *version;
	const char *license;             /* SPDX, or NULL */
	uint32_t wants;                  /* PH_CAP_*: without these it does not start */
	uint32_t may_use;                /* PH_CAP_*: it looks by ph_granted whether it has them */
	const struct ph_option *options; /* or NULL */

	/* Reads the options; *self is what ph_self gives. 0, or negative: it cannot start
	 * (ph_conf_error says why). May open files and load libraries; afterwards the process
	 * is confined. */
	int (*init)(struct ph_conf *conf, void **self);
	void (*fini)(void *self);

	/* Hooks, in the order in which a connection has them; NULL: not asked. */
	enum ph_action (*connect)(struct ph_call *c);
	enum ph_action (*helo)(struct ph_call *c);
	enum ph_action (*auth)(struct ph_call *c);    /* somebody logged in */
	enum ph_action (*mail)(struct ph_call *c);
	enum ph_action (*rcpt)(struct ph_call *c);    /* ph_rcpt_now: which */
	enum ph_action (*data)(struct ph_call *c);    /* before the text: all recipients are known */
	enum ph_action (*message)(struct ph_call *c); /* the whole message, with our trace header */
	void (*end)(struct ph_call *c);               /* the transaction is over: PH_OUTCOME */
	void (*close)(struct ph_call *c);             /* the connection is over */

	/* Called when the process starts; the next time after as many milliseconds as it returns,
	 * 0: never. */
	uint64_t (*timer)(void *self, uint64_t now_ms);
};

#define PH_PLUGIN_HEAD(plugin_name, plugin_version)                                                \
	.abi = PH_ABI, .size = sizeof(struct ph_plugin), .option_size = sizeof(struct ph_option),  \
	.name = (plugin_name), .version = (plugin_version)

/* ---- the host ---- */

/* Header fields are counted from 0. PH_TOP: before all. PH_BOTTOM: behind the last. */
#define PH_TOP UINT32_C(0)
#define PH_BOTTOM UINT32_MAX

enum ph_level { PH_DEBUG, PH_INFO, PH_WARN, PH_ERROR };

/*
 * Functions of the host; use the ph_* wrappers below. `size` is how much of this struct
 * the host has. Functions that return int give 0 or a negative errno value: -EPERM: the
 * capability was not granted, or this is not the hook for it; -ENOENT: there is none;
 * -ENOMEM: the call's memory (16 MiB beside the message) is used up; -EINVAL.
 */
struct ph_api {
	uint32_t size, abi;

	void *(*self)(struct ph_call *c);
	struct ph_str (*text)(struct ph_call *c, uint32_t what);
	uint64_t (*number)(struct ph_call *c, uint32_t what);
	void *(*alloc)(struct ph_call *c, size_t n);
	void (*log)(uint32_t level, const char *text);
	void (*count)(const char *name, uint64_t n);
	uint32_t (*granted)(void);
	void (*reply)(struct ph_call *c, uint32_t smtp, const char *enhanced, struct ph_str text);

	int (*rcpt)(struct ph_call *c, uint32_t i, struct ph_rcpt *ret, size_t size);
	struct ph_str (*message)(struct ph_call *c);
	int (*header)(struct ph_call *c, uint32_t i, struct ph_header *ret, size_t size);
	struct ph_str (*decode)(struct ph_call *c, struct ph_str raw);
	int (*part)(struct ph_call *c, uint32_t i, struct ph_part *ret, size_t size);
	int (*part_body)(struct ph_call *c, uint32_t i, uint32_t how, struct ph_str *ret);

	int (*header_add)(struct ph_call *c, uint32_t at, struct ph_str name, struct ph_str value);
	int (*header_set)(struct ph_call *c, uint32_t i, struct ph_str value);
	int (*header_remove)(struct ph_call *c, uint32_t i);
	int (*rcpt_add)(struct ph_call *c, struct ph_str address);
	int (*rcpt_remove)(struct ph_call *c, uint32_t i);
	int (*sender_set)(struct ph_call *c, struct ph_str address);
	int (*body_set)(struct ph_call *c, struct ph_str body);

	int (*note_set)(struct ph_call *c, const char *key, struct ph_str value);
	struct ph_str (*note)(struct ph_call *c, const char *key);
	void *(*data)(struct ph_call *c, uint32_t of);
	int (*data_set)(struct ph_call *c, uint32_t of, void *p, void (*done)(void *p));

	int (*dns)(struct ph_call *c, struct ph_str name, uint32_t type, struct ph_dns *ret, size_t size);
	void (*sleep)(struct ph_call *c, uint64_t ms);

	int64_t (*option_number)(struct ph_conf *conf, const char *name);
	struct ph_str (*option_text)(struct ph_conf *conf, const char *name, uint32_t i);
	void (*conf_error)(struct ph_conf *conf, const char *name, const char *text);
	struct ph_str (*conf_text)(struct ph_conf *conf, uint32_t what);
};

/* Set by ph_plugin_entry; every file of a plugin sees it. */
extern __attribute__((visibility("hidden"))) const struct ph_api *ph_host;
#define PH_HOST_HAS(function)                                                                      \
	(ph_host->size >= offsetof(struct ph_api, function) + sizeof ph_host->function)

/* In one file of the plugin. */
#define PH_PLUGIN(plugin)                                                                          \
	__attribute__((visibility("hidden"))) const struct ph_api *ph_host;                        \
	__attribute__((visibility("default"))) const struct ph_plugin *                            \
	ph_plugin_entry(const struct ph_api *host);                                                \
	const struct ph_plugin *                                                                   \
	ph_plugin_entry(const struct ph_api *host)                                                 \
	{                                                                                          \
		ph_host = host;                                                                    \
		return &(plugin);                                                                  \
	}
/* What the host looks up. NULL: the plugin does not want to be loaded by this host. */
typedef const struct ph_plugin *ph_entry_fn(const struct ph_api *host);

/* ---- strings ---- */

static inline struct ph_str
ph_c(const char *c)
{
	struct ph_str s = { c, c ? strlen(c) : 0 };

	return s;
}

static inline struct ph_str
ph_bytes(const void *p, size_t n)
{
	struct ph_str s = { (const char *)p, n };

	return s;
}

static inline int
ph_eq(struct ph_str a, struct ph_str b)
{
	return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

/* Without regard to the case of ASCII letters. */
static inline int
ph_ieq(struct ph_str a, struct ph_str b)
{
	size_t i;

	if (a.n != b.n)
		return 0;
	for (i = 0; i < a.n; i++) {
		unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];

		if (x != y && ((x | 32) != (y | 32) || (x | 32) < 'a' || (x | 32) > 'z'))
			return 0;
	}
	return 1;
}

/* For printf("%.*s", PH_ARG(s)). */
#define PH_ARG(s) (int)(s).n, (s).n ? (s).p : ""

/* ---- any hook ---- */

/* What init left in *self. */
static inline void *
ph_self(struct ph_call *c)
{
	return ph_host->self(c);
}

static inline struct ph_str
ph_text(struct ph_call *c, enum ph_text what)
{
	return ph_host->text(c, (uint32_t)what);
}

static inline uint64_t
ph_number(struct ph_call *c, enum ph_number what)
{
	return ph_host->number(c, (uint32_t)what);
}

/* n bytes, zeroed, valid until the hook returns. NULL: the call's memory is used up. */
static inline void *
ph_alloc(struct ph_call *c, size_t n)
{
	return ph_host->alloc(c, n);
}

/* A line in the log (event plugin.log, with the plugin's name). Any time, any thread. */
__attribute__((format(printf, 2, 3))) static inline void
ph_log(enum ph_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ph_host->log((uint32_t)level, text);
}

/* Adds n to posthorn_plugin_events_total{plugin,event="name"}; name is of a small set of
 * letters, digits and _. */
static inline void
ph_count(const char *name, uint64_t n)
{
	ph_host->count(name, n);
}

/* Whether all of these PH_CAP_* were granted. */
static inline int
ph_granted(uint32_t caps)
{
	return (ph_host->granted() & caps) == caps;
}

/* What goes with the hook's answer: a code (4xx with PH_TEMPFAIL, 5xx with PH_REJECT; 0: the
 * usual one), an enhanced code such as "5.7.1" or NULL, and one line of text. */
static inline void
ph_reply(struct ph_call *c, uint32_t smtp, const char *enhanced, struct ph_str text)
{
	ph_host->reply(c, smtp, enhanced, text);
}

/* ---- the message (recipients: from rcpt on; all else: message) ---- */

static inline int
ph_rcpt(struct ph_call *c, uint32_t i, struct ph_rcpt *ret)
{
	return ph_host->rcpt(c, i, ret, sizeof *ret);
}

/* The recipient that the rcpt hook is asked about. */
static inline struct ph_str
ph_rcpt_now(struct ph_call *c)
{
	struct ph_rcpt r = { { NULL, 0 }, { NULL, 0 } };
	uint64_t n = ph_number(c, PH_RCPTS);

	if (n)
		ph_rcpt(c, (uint32_t)(n - 1), &r);
	return r.address;
}

/* All of it, lines ended by CRLF; without what this plugin has edited. */
static inline struct ph_str
ph_message(struct ph_call *c)
{
	return ph_host->message(c);
}

/* The i-th header field, as the message came to this plugin: edits of its own change
 * neither numbers nor values. */
static inline int
ph_header(struct ph_call *c, uint32_t i, struct ph_header *ret)
{
	return ph_host->header(c, i, ret, sizeof *ret);
}

/* The number of the next field of that name, from field `from` on: -ENOENT. */
static inline int
ph_header_find(struct ph_call *c, const char *name, uint32_t from)
{
	struct ph_header h;
	int r;

	while (!(r = ph_header(c, from, &h))) {
		if (ph_ieq(h.name, ph_c(name)))
			return (int)from;
		from++;
	}
	return r;
}

/* A header value as text: unfolded, encoded words (RFC 2047) undone, UTF-8. */
static inline struct ph_str
ph_decode(struct ph_call *c, struct ph_str raw)
{
	return ph_host->decode(c, raw);
}

static inline int
ph_part(struct ph_call *c, uint32_t i, struct ph_part *ret)
{
	return ph_host->part(c, i, ret, sizeof *ret);
}

/* The body of a part: as it came, with its transfer encoding undone, or (text) in UTF-8 too. */
enum { PH_BODY_RAW = 0, PH_BODY_DECODED = 1, PH_BODY_TEXT = 2 };
static inline int
ph_part_body(struct ph_call *c, uint32_t i, uint32_t how, struct ph_str *ret)
{
	return ph_host->part_body(c, i, how, ret);
}

/* ---- edits: in the message hook, and only what was granted ---- */

/* A field before field `at` of the message as it came (PH_TOP, PH_BOTTOM). The value is one
 * line, or folded by CRLF and a blank; several of one place keep their order. */
static inline int
ph_header_add(struct ph_call *c, uint32_t at, struct ph_str name, struct ph_str value)
{
	return ph_host->header_add(c, at, name, value);
}

static inline int
ph_header_set(struct ph_call *c, uint32_t i, struct ph_str value)
{
	return ph_host->header_set(c, i, value);
}

static inline int
ph_header_remove(struct ph_call *c, uint32_t i)
{
	return ph_host->header_remove(c, i);
}

/* Aliases and routing apply to it as to any other; one that is there already is 0 too. */
static inline int
ph_rcpt_add(struct ph_call *c, struct ph_str address)
{
	return ph_host->rcpt_add(c, address);
}

/* A message whose recipients are all removed is taken and discarded. */
static inline int
ph_rcpt_remove(struct ph_call *c, uint32_t i)
{
	return ph_host->rcpt_remove(c, i);
}

static inline int
ph_sender_set(struct ph_call *c, struct ph_str address)
{
	return ph_host->sender_set(c, address);
}

/* What stands behind the empty line; lines ended by CRLF. */
static inline int
ph_body_set(struct ph_call *c, struct ph_str body)
{
	return ph_host->body_set(c, body);
}

/* ---- notes: what plugins tell each other about a transaction ---- */

/* Sets a note of the transaction, or of the connection before MAIL; later plugins and later
 * hooks find it, in whatever process. All plugins share the keys: begin yours with your name,
 * but for those that posthorn-plugin(7) names. At most 64 notes of 4 KiB. */
static inline int
ph_note_set(struct ph_call *c, const char *key, struct ph_str value)
{
	return ph_host->note_set(c, key, value);
}

/* "spf.result": empty when nobody set it. */
static inline struct ph_str
ph_note(struct ph_call *c, const char *key)
{
	return ph_host->note(c, key);
}

/* ---- the plugin's own data, hung on the connection or the transaction ---- */

enum { PH_OF_SESSION = 0, PH_OF_TRANSACTION = 1 };

/* NULL when none was set, or the host was started anew since. */
static inline void *
ph_data(struct ph_call *c, uint32_t of)
{
	return ph_host->data(c, of);
}

/* done(p) is called when the connection or transaction is over, or other data takes its place. */
static inline int
ph_data_set(struct ph_call *c, uint32_t of, void *p, void (*done)(void *p))
{
	return ph_host->data_set(c, of, p, done);
}

/* ---- waiting ---- */

/* Waits. Records of a type (1 A, 16 TXT, ...) of a name, from the house's validating resolver.
 * 0 whatever the status; FAILED and BOGUS mean 'not known now', never 'there is none'. One question takes
 * half of what is left of the call's time at most, so that a server that hangs is not the end of it. */
static inline int
ph_dns(struct ph_call *c, struct ph_str name, uint32_t type, struct ph_dns *ret)
{
	return ph_host->dns(c, name, type, ret, sizeof *ret);
}

/* Waits. */
static inline void
ph_sleep(struct ph_call *c, uint64_t ms)
{
	ph_host->sleep(c, ms);
}

/* ---- while the plugin starts ---- */

/* Of a switch, number, size, time, choice. The host has checked it. */
static inline int64_t
ph_option_number(struct ph_conf *conf, const char *name)
{
	return ph_host->option_number(conf, name);
}

/* Of a text; valid as long as the plugin. */
static inline struct ph_str
ph_option_text(struct ph_conf *conf, const char *name)
{
	return ph_host->option_text(conf, name, 0);
}

/* Of a list: p is NULL behind the last. */
static inline struct ph_str
ph_option_item(struct ph_conf *conf, const char *name, uint32_t i)
{
	return ph_host->option_text(conf, name, i);
}

/* What is wrong with an option (NULL: with none of them), told with its place in the file. */
static inline void
ph_conf_error(struct ph_conf *conf, const char *name, const char *text)
{
	ph_host->conf_error(conf, name, text);
}

/* PH_HOSTNAME, PH_NAME, PH_DATA_DIR; valid as long as the plugin. */
static inline struct ph_str
ph_conf_text(struct ph_conf *conf, enum ph_text what)
{
	return ph_host->conf_text(conf, (uint32_t)what);
}

#ifdef __cplusplus
}
#endif

#endif
