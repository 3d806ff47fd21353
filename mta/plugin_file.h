#ifndef MTA_PLUGIN_FILE_H
#define MTA_PLUGIN_FILE_H

#include "lib/base/arena.h"
#include "lib/conf/settings.h"

/* The path of a block's `file`, NUL-terminated: as it stands, else by its last part in the build
 * tree of this program, else among the installed plugins. What does not exist is given as it stands;
 * empty: out of memory. */
struct str plugin_file(const struct conf_plugin *c, struct arena *a);
/* The path of "NAME.so" in the build tree of this program, else among the installed plugins, NUL-
 * terminated; empty: it is in neither. */
struct str plugin_file_shipped(struct str base, struct arena *a);

#endif
