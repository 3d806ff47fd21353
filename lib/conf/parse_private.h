/* The parser of the configuration language, shared by parse.c (grammar),
 * input.c (files and the environment), check.c (what no single statement shows)
 * and settings.c (the ways in). */
#ifndef LIB_CONF_PARSE_PRIVATE_H
#define LIB_CONF_PARSE_PRIVATE_H

#include "lib/conf/lex.h"
#include "lib/conf/table.h"

#define CONF_FILE_MAX ((size_t)4 << 20)
#define CONF_FILES_MAX 256
#define CONF_DEPTH_MAX 8
#define CONF_ERRORS_MAX 100
#define CONF_LISTEN_MAX 256
#define CONF_TLS_MAX 1024

/* What the checks at the end need to know of a listener besides its settings. */
struct listen_origin {
	struct conf_origin at;
	bool tls_given;
};

struct parser {
	struct settings *s;
	struct arena *errors_arena;
	struct conf_errors *errors;
	bool failed;             /* a mistake that is not a warning */
	bool stop;               /* too many, or another version's language */
	bool files;              /* include, file and env are allowed */
	unsigned depth, n_files;
	bool version_seen;

	struct conf_lex *lex;    /* of the file being read */
	struct conf_token tok;   /* the next one */
	struct str file, dir;

	struct conf_listen listen[CONF_LISTEN_MAX];
	struct listen_origin listen_at[CONF_LISTEN_MAX];
	size_t n_listen;
	struct conf_tls_pair tls[CONF_TLS_MAX];
	size_t n_tls;
};

struct conf_origin conf_here(const struct parser *p, const struct conf_token *t);
__attribute__((format(printf, 4, 5)))
void conf_mistake(struct parser *p, const struct conf_origin *at, bool warning, const char *fmt, ...);

/* Reads p->file's text and the files that it includes into p->s. */
void conf_parse_text(struct parser *p, struct str text);
/* Fills the fields of base whose origin is empty with the block's defaults. */
void conf_defaults(struct parser *p, const char *block, void *base,
    const struct conf_origin *origin);

/* The whole file, in a. 0, or negative and e says what failed. *ret_mode may be NULL. */
int conf_read_file(const char *path, size_t max, struct arena *a, struct str *ret,
    unsigned *ret_mode, struct err *e);
/* `include PATTERN`, `file PATH` and `env NAME`; at is where they stand. */
void conf_include(struct parser *p, const struct conf_origin *at, struct str pattern);
/* secret: a file that others may read gets a warning. */
bool conf_from_file(struct parser *p, const struct conf_origin *at, struct str path, bool secret,
    struct str *ret);
bool conf_from_env(struct parser *p, const struct conf_origin *at, struct str name,
    struct str *ret);

/* Derived values, contradictions, and warnings about what is risky. */
void conf_finish(struct parser *p);

#endif
