/*
 * The names in a zip archive, by its central directory (APPNOTE 6.3.9, sections 4.3.12 to 4.3.16;
 * ZIP64 too). Nothing is unpacked; all numbers of the archive are checked against its size.
 */
#ifndef PLUGINS_ATTACH_ZIP_H
#define PLUGINS_ATTACH_ZIP_H

#include "plugins/plugin.h"

/* How many entries there are said to be is not believed: the directory is read to its end. */
struct zip {
	struct ph_str rest;    /* of the central directory */
};

struct zip_entry {
	struct ph_str name;    /* bytes of the archive; what charset they are in is not known */
	int encrypted;
};

/* Whether the data begins like an archive of this kind. */
int zip_begins(struct ph_str data);
/* 0, or -1: it has no central directory that could be read. Data before the archive (a program that
 * unpacks it) is fine. data must outlive *ret. */
int zip_open(struct ph_str data, struct zip *ret);
/* The next entry: 1; 0 at the end; -1: the directory is broken here. */
int zip_next(struct zip *z, struct zip_entry *ret);

#endif
