package manifest

import "errors"

// The ways in which an update is refused. Each changes nothing.
var (
	ErrFetch        = errors.New("could not be fetched")
	ErrTooLarge     = errors.New("is larger than it may be")
	ErrSignature    = errors.New("the signature does not hold")
	ErrFormat       = errors.New("the manifest is malformed")
	ErrWrongType    = errors.New("this is not a manifest of suites")
	ErrWrongChannel = errors.New("the manifest is of another channel")
	ErrRollback     = errors.New("the manifest is older than the one seen last")
	ErrEquivocation = errors.New("two manifests claim to be the same version")
	ErrExpired      = errors.New("the manifest has expired")
	ErrFuture       = errors.New("the manifest is from the future")
	ErrClash        = errors.New("another channel has this suite")
	ErrDropped      = errors.New("the manifest no longer lists a suite that is installed")
	ErrDigest       = errors.New("the archive is not the one that the manifest names")
	ErrArchive      = errors.New("the archive can't be used")
	ErrIncompatible = errors.New("the suite wants a newer llm-speed")
	ErrLocked       = errors.New("another update is running")
	ErrInstall      = errors.New("the suite could not be installed")
	ErrState        = errors.New("what is known about installed suites can't be read")
)

// Advice says what a user can do about an error of this package; empty where there is nothing to say.
func Advice(err error) string {
	for _, a := range []struct {
		err  error
		text string
	}{
		{ErrFetch, "check the connection and the address (--manifest URL), and try again"},
		{ErrTooLarge, "the server sends more than it should: don't use this address, and tell the project"},
		{ErrSignature, "don't use this manifest: it was not made by the project, or was changed on its way; tell the project"},
		{ErrFormat, "the project has published something broken: tell it"},
		{ErrWrongType, "check the address (--manifest URL)"},
		{ErrWrongChannel, "check the address and --channel"},
		{ErrRollback, "the server, or something before it, holds back what is new: try another network, and tell the project"},
		{ErrEquivocation, "the server shows different people different things: tell the project"},
		{ErrExpired, "try again later; if the clock of this machine is right, the server holds back what is new: tell the project"},
		{ErrFuture, "check the clock of this machine"},
		{ErrClash, "llm-speed suite rm takes the installed one away, then update again"},
		{ErrDropped, "tell the project; what is installed stays usable"},
		{ErrDigest, "the server sends another file than was signed: try again later, and tell the project"},
		{ErrArchive, "the project has published something broken: tell it"},
		{ErrIncompatible, "install a newer llm-speed"},
		{ErrLocked, "wait for it to end"},
		{ErrInstall, "see that the disk has room and that the folder is yours, then try again; what is installed stays usable"},
		{ErrState, "look at the file, or remove the folder to begin anew"},
	} {
		if errors.Is(err, a.err) {
			return a.text
		}
	}
	return ""
}
