/* The command that runs and administers an instance: posthorn VERB ... */
#include "mta/cli_private.h"

int
main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
