/*
 * The table of settings: one row each. The parser, the defaults, `config show`
 * and `config explain`, posthorn.conf(5) and completion come from it.
 */
#ifndef LIB_CONF_TABLE_H
#define LIB_CONF_TABLE_H

#include "lib/conf/settings.h"
#include "lib/conf/value.h"

struct conf_row {
	const char *block, *name; /* block "": outside of any */
	enum conf_type type;
	size_t offset;         /* in struct settings; for the blocks listen and tls: in
	                          conf_listen and conf_tls_pair; for a list: in its element */
	const char *def;       /* as the file would say it; NULL: derived or required */
	const char *def_text;  /* for people, where def is NULL */
	const char *help;      /* sentences */
	uint64_t min, max;     /* CONF_T_NUMBER, _SIZE, _TIME; max 0: none */
	const char *words;     /* CONF_T_CHOICE, CONF_T_WORD: "debug|info" */
	const char *zero;      /* the word for 0: "none", "auto" */
	const char *since;     /* version of posthorn */
	bool reload;           /* taken by `posthorn reload`; else at the next start */
	bool required;         /* in a block of a list: must be said */
	unsigned secret;       /* a password: shown to nobody, told to these alone (CONF_FOR_*) */
};

/* CONF_B_LIST: any number of blocks of this name, each with an argument of its own, become
 * an array of structs whose first field is the argument (struct str name). */
enum conf_block_kind { CONF_B_PLAIN, CONF_B_LISTEN, CONF_B_TLS, CONF_B_LIST };
struct conf_block {
	const char *name;
	enum conf_block_kind kind;
	const char *args;      /* what may stand between the name and the brace */
	const char *help;
	size_t list;           /* CONF_B_LIST: where struct settings has the array's pointer; */
	size_t size;           /* its count (size_t) is right behind. Bytes of an element */
};
#define CONF_LIST_MAX 10000 /* blocks of one list */

extern const struct conf_row conf_rows[];
extern const size_t conf_n_rows;
extern const struct conf_block conf_blocks[];
extern const size_t conf_n_blocks;

/* What `listen PROTO` may name. */
struct conf_listen_kind {
	const char *name;
	enum conf_proto proto;
	unsigned port;
	bool implicit_tls, auth;
};
extern const struct conf_listen_kind conf_listen_kinds[];
extern const size_t conf_n_listen_kinds;

/* By block and name; NULL when there is none. */
const struct conf_row *conf_row_find(struct str block, struct str name);
/* By KEY as people write it: "hostname", "smtp.timeout", "listen.port". */
const struct conf_row *conf_row_by_key(struct str key);
/* Appends the KEY. */
void conf_row_key(struct buf *out, const struct conf_row *row);
const struct conf_block *conf_block_find(struct str name);
const struct conf_listen_kind *conf_listen_kind_find(struct str name);
/* Element i of a list of blocks; NULL behind the last. */
const void *conf_list_at(const struct settings *s, const struct conf_block *block, size_t i);

/* The candidate most like word, or NULL when none is near. next(arg, i) gives
 * candidate i, NULL after the last. */
const char *conf_near(struct str word, const char *(*next)(void *arg, size_t i), void *arg);

#endif
