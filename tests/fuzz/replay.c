/*
 * Runs a fuzz target over files: every file named, and every file of every
 * folder named; options are passed over. Linked with a target in place of libFuzzer, so that the corpus
 * (and each input that once crashed) is a plain test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *p;
	size_t n;

	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		return -1;
	}
	/* exactly as large as the file, so that a sanitizer sees one byte over */
	p = malloc(st.st_size ? (size_t)st.st_size : 1);
	n = p ? fread(p, 1, (size_t)st.st_size, f) : 0;
	fclose(f);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	return 1;
}

static int
run_folder(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort), ran = 0;
	char file[4096];

	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && ran >= 0)
			ran = run_file(file) < 0 ? -1 : ran + 1;
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return n < 0 ? -1 : ran;
}

int
main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int n;

		if (argv[i][0] == '-') /* an option of libFuzzer */
			continue;
		n = stat(argv[i], &st) < 0 ? -1 :
		    S_ISDIR(st.st_mode)        ? run_folder(argv[i]) : run_file(argv[i]);

		if (n < 0) {
			fprintf(stderr, "%s: cannot read\n", argv[i]);
			return 1;
		}
		total += n;
	}
	printf("%d inputs\n", total);
	return total ? 0 : 1;
}
