/*
 * Reads one segment's bytes, whoever wrote them: batches in order, then what is
 * wrong. Nothing is believed without a CRC that starts from the salt of the
 * segment's use, so stale, foreign or hostile bytes are never taken for records.
 *
 * Damage against torn tail: a batch that does not verify is damage when a later
 * batch of the same use verifies, or when the end of the segment is known and
 * lies behind it. Of a damaged batch the records that verify by themselves are
 * still given; of a torn tail, nothing: it was never acknowledged.
 */
#ifndef MTA_SPOOL_SCAN_H
#define MTA_SPOOL_SCAN_H

#include "mta/spool_format.h"

struct spool_scan_spec {
	const unsigned char *mem; /* the whole segment */
	size_t size;
	/* Where the log goes on elsewhere, as the next segment's header says; 0:
	 * not known (the last segment of the log). */
	uint64_t known_end;
	void *arg;
	/* A record and where it stands. Negative stops the scan. */
	int (*record)(void *arg, const struct spool_record *r, uint64_t off);
	/* A range that could not be read as it should. */
	void (*damage)(void *arg, uint64_t off, uint64_t len, const char *what);
};

struct spool_scan_result {
	struct spool_header header;
	uint64_t end;          /* behind the last good batch */
	uint64_t next_batch;   /* number that follows it */
	uint64_t last_seq;     /* 0: no record */
	bool clean;            /* an end mark was there */
	uint64_t torn;         /* where a torn tail begins; 0: none */
	uint64_t batches, records, damaged;
};

/* Header of a segment image: either copy, the later use when both are good. */
int spool_scan_header(const unsigned char *mem, size_t size, struct spool_header *ret);

/* 0; the code of spool_scan_header; or what spec->record returned. */
int spool_scan(const struct spool_scan_spec *spec, struct spool_scan_result *ret);

/* Verifies the record that should stand at mem (n bytes). 0 or -EBADMSG. */
int spool_record_verify(const unsigned char *mem, size_t n, uint32_t seed,
    struct spool_record *ret);

#endif
