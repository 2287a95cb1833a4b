// SPDX-License-Identifier: MIT

package sp

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What they are called in the header.
var constants = map[string]int{
	"PF_SP": PF, "SOL_SP": SOL,
	"SOCK_PAIR": int(Pair), "SOCK_PUSH": int(Push), "SOCK_PULL": int(Pull),
	"SOCK_SURVEYOR": int(Surveyor), "SOCK_BUS": int(Bus), "SOCK_REQ": int(Req),
	"SOCK_REP": int(Rep), "SOCK_PUB": int(Pub), "SOCK_SUB": int(Sub),
	"SOCK_RESPONDENT": int(Respondent),
	"SP_SUBSCRIBE":    subscribe, "SP_UNSUBSCRIBE": unsubscribe,
	"SP_REQ_RESEND_IVL": int(ReqResendIvl), "SP_RECONNECT_IVL": int(ReconnectIvl),
	"SP_RECONNECT_IVL_MAX": int(ReconnectIvlMax), "SP_RCVMAXSIZE": int(RcvMaxSize),
	"SP_SNDMAXSIZE": int(SndMaxSize), "SP_MAXTTL": int(MaxTTL), "SP_SNDPRIO": int(SndPrio),
	"SP_RCVPRIO": int(RcvPrio), "SP_REMOVE": remove, "SP_PEERS": int(Peers), "SP_INFO": info,
	"SP_TOPIC_MAX": TopicMax, "SP_SUBSCRIPTIONS_MAX": SubscriptionsMax,
	"SP_ENDPOINTS_MAX": EndpointsMax, "SP_PIPES_MAX": PipesMax,
}

func header(t *testing.T) string {
	path := os.Getenv("SP_HEADER")
	if path == "" {
		path = "../../include/uapi/linux/sp.h"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestConstantsAreTheHeaders(t *testing.T) {
	defined := map[string]int{}
	for _, line := range regexp.MustCompile(`(?m)^#define\s+(\w+)\s+(\d+)$`).FindAllStringSubmatch(header(t), -1) {
		defined[line[1]], _ = strconv.Atoi(line[2])
	}
	if !reflect.DeepEqual(defined, constants) {
		t.Errorf("the header has %v,\nthis package %v", defined, constants)
	}
	for name, value := range constants {
		if role := strings.TrimPrefix(name, "SOCK_"); role != name && Type(value).String() != role {
			t.Errorf("%d is %v, not %s", value, Type(value), role)
		}
	}
}

func TestInfoHasTheHeadersMembers(t *testing.T) {
	var members, ours []string
	for _, line := range regexp.MustCompile(`(?m)^\t(?:__u|__aligned_u)(32|64) sp_(\w+);`).FindAllStringSubmatch(header(t), -1) {
		members = append(members, strings.ReplaceAll(line[2], "_", "")+" uint"+line[1])
	}
	told := reflect.TypeOf(Info{})
	for i := 0; i < told.NumField(); i++ {
		ours = append(ours, strings.ToLower(told.Field(i).Name)+" "+told.Field(i).Type.String())
	}
	if !reflect.DeepEqual(members, ours) {
		t.Errorf("the header has %v,\nthis package %v", members, ours)
	}
}
