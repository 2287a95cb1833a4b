# SPDX-License-Identifier: GPL-2.0
#
# Turns what a program of rustc --test prints into what ktap.awk reads.
#
# -v suites="MODULE=NAME ..." names the suites that must appear.

# Splits the path of a test into its suite and its name.
function find(path) {
	test = path
	sub(/.*::/, "", test)
	module = substr(path, 1, length(path) - length(test) - 2)
}

BEGIN {
	count = split(suites, pairs, " ")
	for (i = 1; i <= count; i++) {
		split(pairs[i], pair, "=")
		modules[i] = pair[1]
		names[i] = pair[2]
	}
}

/^test .* \.\.\. (ok|FAILED)$/ {
	find($2)
	tests[module] = tests[module] " " test
	results[module, test] = $NF
	next
}

# After all the results: what those that failed have said.
/^---- .* stdout ----$/ {
	find($2)
	speaks = module SUBSEP test
	next
}

/^failures:$/ || /^test result: / {
	ended = /^test result: /
	speaks = ""
	next
}

/^running [0-9]+ tests?$/ || /^$/ {
	next
}

speaks != "" {
	said[speaks] = said[speaks] $0 "\n"
	next
}

!ended {
	rest = rest $0 "\n"
}

END {
	print "#> suites 1.." count + !ended
	for (i = 1; i <= count; i++) {
		module = modules[i]
		print "#> begin unit/" names[i]
		planned = split(tests[module], list, " ")
		failed = 0
		for (j = 1; j <= planned; j++) {
			test = list[j]
			if (results[module, test] == "ok") {
				print "ok " j " " test
				continue
			}
			printf "%s", said[module, test]
			print "not ok " j " " test
			failed = 1
		}
		if (planned)
			print "1.." planned
		else
			print "tests/unit does not have " modules[i]
		print "#> end unit/" names[i] " " failed
		wrong += failed || !planned
	}
	# It was killed, or ended itself.
	if (!ended) {
		print "#> begin unit"
		printf "%s", rest
		print "#> end unit 1"
	}
	exit wrong || !ended
}
