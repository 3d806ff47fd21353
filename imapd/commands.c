/* The table of commands and what the server says it can do. */
#include "imapd/commands.h"
#include "lib/client/sasl.h"

static struct command table[] = {
	{ "CAPABILITY", IN_ANY, 0, cmd_capability },
	{ "NOOP", IN_ANY, CMD_SYNC, cmd_noop },
	{ "LOGOUT", IN_ANY, 0, cmd_logout },
	{ "ID", IN_ANY, 0, cmd_id },
	{ "STARTTLS", IN_NONAUTH, 0, cmd_starttls },
	{ "LOGIN", IN_NONAUTH, CMD_SECRET, cmd_login },
	{ "AUTHENTICATE", IN_NONAUTH, CMD_SECRET, cmd_authenticate },
	{ "ENABLE", IN_AUTH | IN_SELECTED, 0, cmd_enable },
	{ "NAMESPACE", IN_AUTH | IN_SELECTED, 0, cmd_namespace },
	{ "SELECT", IN_AUTH | IN_SELECTED, 0, cmd_select },
	{ "EXAMINE", IN_AUTH | IN_SELECTED, 0, cmd_examine },
	{ "CREATE", IN_AUTH | IN_SELECTED, 0, cmd_create },
	{ "DELETE", IN_AUTH | IN_SELECTED, 0, cmd_delete },
	{ "RENAME", IN_AUTH | IN_SELECTED, 0, cmd_rename },
	{ "LIST", IN_AUTH | IN_SELECTED, 0, cmd_list },
	{ "LSUB", IN_AUTH | IN_SELECTED, 0, cmd_lsub },
	{ "SUBSCRIBE", IN_AUTH | IN_SELECTED, 0, cmd_subscribe },
	{ "UNSUBSCRIBE", IN_AUTH | IN_SELECTED, 0, cmd_unsubscribe },
	{ "STATUS", IN_AUTH | IN_SELECTED, 0, cmd_status },
	{ "APPEND", IN_AUTH | IN_SELECTED, 0, cmd_append },
	{ "IDLE", IN_AUTH | IN_SELECTED, CMD_SYNC, cmd_idle },
	{ "CHECK", IN_SELECTED, CMD_SYNC, cmd_check },
	{ "CLOSE", IN_SELECTED, 0, cmd_close },
	{ "UNSELECT", IN_SELECTED, 0, cmd_unselect },
	{ "EXPUNGE", IN_SELECTED, CMD_SYNC | CMD_UID, cmd_expunge },
	{ "COPY", IN_SELECTED, CMD_UID, cmd_copy },
	{ "MOVE", IN_SELECTED, CMD_SYNC | CMD_UID, cmd_move },
	{ "FETCH", IN_SELECTED, CMD_NO_EXPUNGE | CMD_UID, cmd_fetch },
	{ "SEARCH", IN_SELECTED, CMD_NO_EXPUNGE | CMD_UID, cmd_search },
	{ "STORE", IN_SELECTED, CMD_NO_EXPUNGE | CMD_UID, cmd_store },
};

struct command *
command_find(struct str name, bool uid)
{
	size_t i;

	for (i = 0; i < sizeof table / sizeof *table; i++)
		if (str_ieq(name, str_c(table[i].name)))
			return !uid || table[i].flags & CMD_UID ? &table[i] : NULL;
	return NULL;
}

void
capabilities(struct imap *c, struct buf *b)
{
	buf_puts(b, "IMAP4rev1 LITERAL+ SASL-IR ENABLE ID");
	if (c->state == IN_NONAUTH) {
		if (!c->tls && c->on.starttls)
			buf_puts(b, " STARTTLS");
		if (login_allowed(c))
			sasl_names_put(b, imap_settings, c->st, " AUTH=");
		else
			buf_puts(b, " LOGINDISABLED");
		return;
	}
	buf_puts(b, " IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN LIST-EXTENDED SPECIAL-USE"
	    " CONDSTORE ESEARCH");
}
