/* The tables of verbs, one per noun. To add a noun: its declaration here, and its
 * name in CLI_NOUNS in the order of `posthorn --help`. */
#ifndef MTA_CLI_TABLES_H
#define MTA_CLI_TABLES_H

#include "mta/cli.h"

extern const struct verb cli_alias[];
extern const struct verb cli_check[];
extern const struct verb cli_config[];
extern const struct verb cli_dkim[];
extern const struct verb cli_dns[];
extern const struct verb cli_domain[];
extern const struct verb cli_explain[];
extern const struct verb cli_import[];
extern const struct verb cli_plugin[];
extern const struct verb cli_queue[];
extern const struct verb cli_run[];
extern const struct verb cli_sandbox[];
extern const struct verb cli_send[];
extern const struct verb cli_spool[];
extern const struct verb cli_store[];
extern const struct verb cli_table[];
extern const struct verb cli_tls[];
extern const struct verb cli_trace[];
extern const struct verb cli_user[];

#define CLI_NOUNS cli_run, cli_check, cli_config, cli_sandbox, cli_user, cli_alias, cli_domain, cli_dkim, cli_dns, cli_tls, cli_table, cli_send, cli_plugin, cli_queue, cli_trace, cli_explain, cli_spool, cli_store, cli_import,

#endif
