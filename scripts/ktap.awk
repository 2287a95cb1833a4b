# SPDX-License-Identifier: GPL-2.0
#
# Reads test output in KTAP and prints a line per result, with what was said
# before it if it failed; then the totals. Fails if anything failed or nothing
# passed. Lines that begin with #> are the runner's:
#
#	#> begin NAME		what follows is NAME's output
#	#> end NAME STATUS [S]	NAME ended with that exit status, after S seconds
#	#> suites 1..N		N programs begin after this, and all that do are
#	#> suites end		suites, until this
#	#> guest STATUS		what vm.sh returned
#
# -v expected="NAME ..." names the programs that must appear.

function fail(what) {
	failed++
	wrong++
	printf "FAIL %s: %s\n%s", name, what, said
	said = ""
}

function count_suites() {
	if (!counting)
		return
	counting = 0
	name = "suites"
	if (suites != 0)
		fail("are missing or too many")
	name = ""
}

/^#> begin / {
	name = $3
	begun[name] = 1
	planned = -1
	results = wrong = 0
	said = ""
	suites--
	next
}

/^#> end / {
	if ($4 == 137 || $4 == 143)
		fail("took too long")
	else if ($4 != 0 && $4 != 4 && !wrong)
		fail("ended with status " $4)
	else if (planned < 0)
		fail("printed no plan")
	else if (results != planned)
		fail("planned " planned " results, printed " results)
	if ($5 > 20)
		printf "     %s took %d s\n", name, $5
	name = ""
	next
}

/^#> suites / {
	count_suites()
	counting = ($3 != "end")
	suites = substr($3, 4)
	begun["suites"] = 1
	next
}

/^#> guest / {
	if (name != "")
		fail("did not end")
	name = "guest"
	if ($3 != 0)
		fail("vm.sh ended with status " $3)
	name = ""
	next
}

name == "" {
	print
	next
}

/^1\.\.[0-9]+/ {
	planned = substr($1, 4) + 0
	if (planned == 0) {
		skipped++
		printf "skip %s%s\n", name, substr($0, length($1) + 1)
	}
	next
}

/^ok [0-9]+.*# SKIP/ {
	results++
	skipped++
	sub(/^ok [0-9]+ */, "")
	printf "skip %s: %s\n", name, $0
	said = ""
	next
}

/^ok [0-9]+/ {
	results++
	passed++
	sub(/^ok [0-9]+ (- )?/, "")
	printf "ok   %s: %s\n", name, $0
	said = ""
	next
}

/^not ok [0-9]+/ {
	results++
	sub(/^not ok [0-9]+ (- )?/, "")
	fail($0)
	next
}

{
	said = said "     " $0 "\n"
}

END {
	count_suites()
	count = split(expected, names, " ")
	for (i = 1; i <= count; i++)
		if (!(names[i] in begun)) {
			name = names[i]
			fail("did not run")
		}
	printf "%d passed, %d failed", passed, failed
	printf skipped ? ", %d skipped\n" : "\n", skipped
	exit failed || !passed
}
