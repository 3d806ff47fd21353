/* What the plugin dkim does with mail of users: which keys sign it, and when they are read anew. */
#ifndef PLUGINS_DKIM_SIGNER_H
#define PLUGINS_DKIM_SIGNER_H

#include "plugins/plugin.h"

struct signer;

/* Reads the options of signing and the keys. 0, or negative. */
int signer_new(struct ph_conf *conf, struct signer **ret);
void signer_free(struct signer **s);
/* Reads the keys again if their files have changed. */
void signer_refresh(struct signer *s);
/* Signs the message of a call, if there are keys for it. */
enum ph_action signer_sign(struct signer *s, struct ph_call *c);

#endif
