// SPDX-License-Identifier: MIT

package sp

// The numbers of <linux/sp.h>, which explains them; a test compares the two.
const (
	PF = 18 // PF_SP

	SOL = 400 // SOL_SP: the level of the options

	TopicMax         = 4096  // SP_TOPIC_MAX
	SubscriptionsMax = 65536 // SP_SUBSCRIPTIONS_MAX
	EndpointsMax     = 1024  // SP_ENDPOINTS_MAX
	PipesMax         = 65536 // SP_PIPES_MAX
)

// A Type is the pattern of a socket and the role in it.
type Type int

// The types. Pair, Surveyor, Bus and Respondent are numbers that the module
// does not implement yet.
const (
	Pair       Type = 1
	Push       Type = 2
	Pull       Type = 3
	Surveyor   Type = 4
	Bus        Type = 5
	Req        Type = 6
	Rep        Type = 7
	Pub        Type = 8
	Sub        Type = 9
	Respondent Type = 10
)

var typeNames = [...]string{
	"", "PAIR", "PUSH", "PULL", "SURVEYOR", "BUS", "REQ", "REP", "PUB", "SUB", "RESPONDENT",
}

func (t Type) String() string {
	if t > 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// An Option is one of level SOL whose value is an int.
type Option int

// The options, of which Peers can only be got.
const (
	ReqResendIvl    Option = 3
	ReconnectIvl    Option = 4
	ReconnectIvlMax Option = 5
	RcvMaxSize      Option = 6
	SndMaxSize      Option = 7
	MaxTTL          Option = 8
	SndPrio         Option = 9
	RcvPrio         Option = 10
	Peers           Option = 12
)

// Options that have methods of their own.
const (
	subscribe   = 1
	unsubscribe = 2
	remove      = 11
	info        = 13
)

// Info is what SP_INFO tells: struct sp_info.
type Info struct {
	Type        uint32
	Flags       uint32
	Listeners   uint32
	Dialers     uint32
	Pipes       uint32
	Handshaking uint32

	RxMsgs  uint64
	RxBytes uint64
	TxMsgs  uint64
	TxBytes uint64

	RxQueued uint64
	TxQueued uint64

	RxFiltered  uint64
	RxStale     uint64
	RxMalformed uint64
	RxTTL       uint64
	RxOversize  uint64
	RxPartial   uint64

	TxDropped uint64
	TxNoPeer  uint64
	Resends   uint64

	BadGreetings uint64
	PipeUps      uint64
	PipeDowns    uint64
	Reconnects   uint64
}
