/*
 * `posthorn import postfix DIR`: what a Postfix configuration says, as settings and tables of
 * this system, and a report about each parameter: carried, needless, or not carried.
 *
 *	main.cf, master.cf --read--> parameters --expand--> rules --> posthorn.conf, tables/
 *	maps (hash:, regexp:, ...) --read--> tables                \-> report
 */
#ifndef MTA_IMPORT_H
#define MTA_IMPORT_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/map.h"

#define IMPORT_FILE_MAX (64u << 20)
#define IMPORT_SERVICES 256
#define IMPORT_PARAMS 4096

/* A parameter that was set, or a built-in default that another one names. */
struct import_param {
	struct str name, value;
	unsigned line;
	bool used;                /* a rule looked at it */
	int fate;                 /* enum import_fate */
	struct str note;
};

enum import_fate {
	IMPORT_OPEN,              /* no rule spoke of it */
	IMPORT_CARRIED,
	IMPORT_SAME,              /* what this system does anyway */
	IMPORT_NEEDLESS,          /* means nothing here */
	IMPORT_LOST,              /* the new configuration does not do this */
};

/* A service of master.cf with its -o overrides. */
struct import_service {
	struct str name, type, command, args;
	struct import_param *opts;
	size_t n_opts;
	unsigned line;
};

struct import {
	struct arena *arena;
	const char *dir;          /* of main.cf */
	struct import_param *params; /* in the order of the file */
	size_t n_params, cap_params;
	struct strmap by_name;
	struct import_service services[IMPORT_SERVICES];
	size_t n_services;
	unsigned expansions;      /* of the value that is expanded now */
	/* what comes out */
	const char *out;          /* folder */
	struct buf conf, end;     /* end: behind all other statements */
	struct buf report;
	size_t lost;
	unsigned n_tables;
};

/* ---- import_read.c ---- */
/* All of a file in the arena. */
int import_file(struct import *m, const char *path, struct str *ret, struct err *e);
/* Next logical line of a Postfix file: comments and empty lines passed over, continuation
 * lines joined. False at the end. */
bool import_line(struct import *m, struct str *rest, unsigned *line, struct str *ret);
/* The same for a text in memory; 0 or a negative code. */
int import_main_cf(struct import *m, struct str text, struct err *e);
int import_master_cf(struct import *m, struct str text, struct err *e);

/* ---- import_expand.c ---- */
/* The value of a parameter with everything expanded; svc: its -o overrides count (or NULL).
 * Empty when it is neither set nor has a known default. */
struct str import_get(struct import *m, const struct import_service *svc, const char *name);
bool import_is_set(struct import *m, const char *name);
/* What main.cf says of it, NULL when nothing. */
struct import_param *import_param(struct import *m, struct str name);
struct str import_expand(struct import *m, const struct import_service *svc, struct str text,
    unsigned depth);
/* Next element of a list (blanks and commas; {...} is one). False at the end. */
bool import_word(struct str *list, struct str *ret);
bool import_yes(struct str value);

/* ---- import_map.c ---- */
/* A lookup table as Postfix names it. */
enum import_map_kind { IMPORT_MAP_TEXT, IMPORT_MAP_ALIASES, IMPORT_MAP_PATTERNS, IMPORT_MAP_CIDR,
	IMPORT_MAP_STATIC, IMPORT_MAP_OTHER };
struct import_row {
	struct str key, value;
};
struct import_map {
	enum import_map_kind kind;
	struct str type, name;    /* "hash", "/etc/postfix/virtual" */
	struct import_row *rows;
	size_t n;
	struct str why;           /* IMPORT_MAP_OTHER, and files that cannot be read */
};
/* Reads spec ("hash:/etc/aliases", "inline:{a=b}"); aliases: the file has aliases(5)'s form. */
int import_map(struct import *m, struct str spec, bool aliases, struct import_map *ret);

/* ---- import_rules.c ---- */
int import_rules(struct import *m, struct err *e);

/* Appends `KEY TABLE, ...` of the maps that a parameter lists, and their table blocks to the
 * configuration. setting: "route.transports"; more: one more table, or NULL. */
void import_maps(struct import *m, const char *param, const char *setting, struct buf *route,
    bool aliases, const char *more);

/* ---- import_rewrite.c: canonical, generic and checks ---- */
void import_rewriting(struct import *m, struct err *e);

/* Appends a table's text to OUT/tables/NAME; its name in *ret. */
int import_table(struct import *m, const char *name, struct str text, struct err *e);

/* Fate of a parameter, told in the report. */
__attribute__((format(printf, 4, 5)))
void import_say(struct import *m, const char *name, enum import_fate fate, const char *fmt, ...);

#endif
