/*
 * Words of the configuration language. A word is a run of characters other than
 * blanks, quotes, braces, commas, semicolons and control bytes; a string stands in
 * double quotes with the escapes \" \\ \n \t and may not cross a line; '#'
 * where a word could begin starts a comment to the end of the line.
 */
#ifndef LIB_CONF_LEX_H
#define LIB_CONF_LEX_H

#include "lib/base/arena.h"

enum conf_token_kind {
	TOK_END,     /* of the file */
	TOK_WORD,
	TOK_STRING,  /* text has its content, escapes resolved */
	TOK_OPEN,    /* { */
	TOK_CLOSE,   /* } */
	TOK_COMMA,
	TOK_SEMI,
	TOK_BAD,     /* text says why; the reader goes on behind it */
};

struct conf_token {
	enum conf_token_kind kind;
	struct str text;
	unsigned line, col;  /* of its first character; columns count characters */
	bool first;          /* the first token of its line */
	struct str source;   /* the line that it stands in */
};

struct conf_lex {
	struct str in;       /* the whole file */
	size_t pos;
	unsigned line;
	size_t line_start;
	bool line_used;      /* a token of this line was handed out */
	struct str source;   /* the line, once line_used */
	unsigned col;        /* column of col_pos */
	size_t col_pos;
	struct arena *arena; /* of the strings with escapes */
};

void conf_lex_init(struct conf_lex *l, struct str in, struct arena *a);
/* The next token; TOK_END for ever at the end. Its text and source point into
 * the input or the arena. */
struct conf_token conf_lex_next(struct conf_lex *l);

#endif
