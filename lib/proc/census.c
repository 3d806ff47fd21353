/* Sessions counted over processes; see census.h. Loop's thread of each process only. */
#include "lib/proc/census.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

struct part {
	_Atomic uint32_t total;
	_Atomic uint16_t slots[CENSUS_SLOTS];
	char pad[4096 - sizeof(uint32_t)]; /* whole pages, so that parts share none */
};

struct memory {
	uint64_t key[2];
	char pad[4096 - 2 * sizeof(uint64_t)];
	struct part parts[];
};

static struct {
	struct memory *m;
	unsigned instance, instances;
} census;

static size_t
memory_size(unsigned instances)
{
	return sizeof(struct memory) + instances * sizeof(struct part);
}

int
census_create(unsigned instances, struct err *e)
{
	uint64_t key[2];
	int fd = memfd_create("census", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)memory_size(instances)) == 0 &&
	    getrandom(key, sizeof key, 0) == sizeof key && pwrite(fd, key, sizeof key, 0) == sizeof key)
		return fd;
	err_sys(e, -errno, "cannot make the memory of session counts");
	if (fd >= 0)
		close(fd);
	return e->code;
}

int
census_open(int fd, unsigned instance, unsigned instances, struct err *e)
{
	void *p;

	if (fd < 0)
		instance = 0, instances = 1;
	p = mmap(NULL, memory_size(instances), PROT_READ | PROT_WRITE,
	    fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return err_sys(e, -errno, "cannot map the memory of session counts");
	census.m = p;
	census.instance = instance;
	census.instances = instances;
	memset(&census.m->parts[instance], 0, sizeof census.m->parts[instance]);
	return 0;
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static unsigned
slot_of(const unsigned char *addr)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint64_t high, low = 0;

	memcpy(&high, addr, sizeof high);
	if (!memcmp(addr, mapped, sizeof mapped))
		memcpy(&low, addr + 8, sizeof low);
	return (unsigned)(mix(mix(high ^ census.m->key[0], census.m->key[1] | 1) ^ low,
	    UINT64_C(0x9e3779b97f4a7c15) ^ census.m->key[0]) % CENSUS_SLOTS);
}

unsigned
census_total(void)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < census.instances; i++)
		sum += atomic_load_explicit(&census.m->parts[i].total, memory_order_relaxed);
	return sum;
}

static unsigned
slot_total(unsigned slot)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < census.instances; i++)
		sum += atomic_load_explicit(&census.m->parts[i].slots[slot], memory_order_relaxed);
	return sum;
}

enum census_answer
census_enter(const unsigned char addr[static 16], unsigned limit, unsigned limit_per_address)
{
	struct part *own = &census.m->parts[census.instance];
	unsigned slot = slot_of(addr);
	enum census_answer no = CENSUS_OK;

	/* Counted first, so that two processes cannot both take the last place. */
	atomic_fetch_add(&own->total, 1);
	atomic_fetch_add(&own->slots[slot], 1);
	if (limit && census_total() > limit)
		no = CENSUS_FULL;
	else if (limit_per_address && slot_total(slot) > limit_per_address)
		no = CENSUS_ADDRESS_FULL;
	if (no)
		census_leave(addr);
	return no;
}

void
census_leave(const unsigned char addr[static 16])
{
	struct part *own = &census.m->parts[census.instance];

	atomic_fetch_sub(&own->total, 1);
	atomic_fetch_sub(&own->slots[slot_of(addr)], 1);
}
