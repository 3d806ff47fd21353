/* Where the shared object of a plugin is. */
#include "mta/plugin_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* In the build tree, beside the folder of this program: plugins/NAME/NAME.so. */
static struct str
in_build(struct str base, struct arena *a)
{
	struct str stem = str_iends(base, STR(".so")) ? str_head(base, base.n - 3) : base, path;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n <= 0)
		return STR_NULL;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return STR_NULL;
	*slash = '\0';
	path = arena_printf(a, "%s/../plugins/%.*s/%.*s", self, STR_ARG(stem), STR_ARG(base));
	return path.p && access(path.p, F_OK) == 0 ? path : STR_NULL;
}

struct str
plugin_file_shipped(struct str base, struct arena *a)
{
	struct str path = in_build(base, a);

	if (path.n)
		return path;
	path = arena_printf(a, "%s/%.*s", PLUGINDIR, STR_ARG(base));
	return path.p && access(path.p, F_OK) == 0 ? path : STR_NULL;
}

struct str
plugin_file(const struct conf_plugin *c, struct arena *a)
{
	struct str path = arena_dup(a, c->file), shipped;

	if (!path.p || access(path.p, F_OK) == 0)
		return path;
	shipped = plugin_file_shipped(str_skip(path, (size_t)(str_rchr(path, '/') + 1)), a);
	return shipped.n ? shipped : path;
}
