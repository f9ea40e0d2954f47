package otto

// Reply is what of a machine answers when it is asked over the network, past its agent.
type Reply string

// From a machine without power to one that works.
const (
	ReplyNone Reply = "" // nothing does
	// ReplyKernel is its network stack, which accepts connections or refuses them
	// although every process there may be frozen or dead.
	ReplyKernel Reply = "kernel"
	// ReplyProgram is a process: its SSH server has sent something by itself.
	ReplyProgram Reply = "program"
)

// Sign is what was found when a machine was asked past its agent.
type Sign struct {
	Reply Reply
	Why   string // for people: what answered, or why nothing did
	// Free says that asking again costs the machine nothing: it is done over the same
	// connection, or no program of it learns of it.
	Free bool
}
