package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Facts are what a machine says of itself. What it does not know is left out:
// nil, zero or empty.
type Facts struct {
	Time   time.Time `json:"time"` // by its clock, when all the rest was known
	User   string    `json:"user,omitempty"`
	OS     string    `json:"os,omitempty"`
	Kernel string    `json:"kernel,omitempty"`
	Arch   string    `json:"arch,omitempty"`  // as Go and Docker name it
	Model  string    `json:"model,omitempty"` // of a board, such as Raspberry Pi 4 Model B
	// Agent is the version of the agent that said all this.
	Agent  string  `json:"agent,omitempty"`
	Engine *Engine `json:"engine,omitempty"`
	Memory *bool   `json:"memory_cgroup,omitempty"` // the kernel can limit the memory of a container
	// Throttled are the bits of a Raspberry Pi's get_throttled.
	Throttled *uint32    `json:"throttled,omitempty"`
	Wireless  []Wireless `json:"wireless,omitempty"`
	Disks     []Disk     `json:"disks,omitempty"`
	Sync      *Sync      `json:"sync,omitempty"`
	Brokers   []Broker   `json:"brokers,omitempty"`
	// Unanswered names the questions that had no answer in time.
	Unanswered []string `json:"unanswered,omitempty"`
}

// Engine is a machine's container engine.
type Engine struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	API     string `json:"api,omitempty"`     // negotiated
	Problem string `json:"problem,omitempty"` // why it cannot be used, and what to try
	Storage string `json:"storage,omitempty"` // its storage driver
	// NoMemoryLimit says that it takes a limit and does not keep it.
	NoMemoryLimit bool `json:"no_memory_limit,omitempty"`
	// LogDriver is for containers that ask for none, and LogLimit whether their
	// logs are bounded; nil if that is not known.
	LogDriver string `json:"log_driver,omitempty"`
	LogLimit  *bool  `json:"log_limit,omitempty"`
	// Open are the addresses beyond this machine at which it takes orders without TLS.
	Open []string `json:"open,omitempty"`
}

// Wireless is a wireless interface that is up.
type Wireless struct {
	Name      string `json:"name"`
	PowerSave *bool  `json:"power_save,omitempty"`
}

// Disk is the file system that holds a path.
type Disk struct {
	Path       string `json:"path"`
	Free       uint64 `json:"free"`  // bytes, without what is reserved for root
	Total      uint64 `json:"total"` // bytes
	FreeFiles  uint64 `json:"free_files,omitempty"`
	TotalFiles uint64 `json:"total_files,omitempty"` // 0 where files are not counted
}

// Sync is how long the disk takes until a small write is safe from a power cut.
type Sync struct {
	Path    string        `json:"path"`
	Writes  int           `json:"writes"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"` // of few writes: the slowest
	Problem string        `json:"problem,omitempty"`
}

// Broker is how a broker answers at one of its addresses.
type Broker struct {
	Address string        `json:"address"`
	Took    time.Duration `json:"took_ns,omitempty"` // until it let us in
	// Open says that a client without a name may publish what nodes say, and read it.
	Open    bool   `json:"open,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// maxFacts bounds what a node may say, in bytes.
const maxFacts = 256 << 10

// Decode reads the facts that an agent has printed.
func Decode(b []byte) (Facts, error) {
	var f Facts
	if len(b) > maxFacts {
		return f, fmt.Errorf("facts: %d bytes are too many", len(b))
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return Facts{}, fmt.Errorf("facts: %w", err)
	}
	if f.Time.IsZero() {
		return Facts{}, errors.New("facts: they have no time")
	}
	return f, nil
}
