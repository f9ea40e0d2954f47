package otto

// Options are what a container is given as the engine has it: Otto passes them and
// does nothing else with them. Names and meaning are Docker Compose's.
type Options struct {
	Hostname   string `json:"hostname,omitempty"`
	Domainname string `json:"domainname,omitempty"`
	MACAddress string `json:"mac_address,omitempty"`
	TTY        bool   `json:"tty,omitempty"`
	StdinOpen  bool   `json:"stdin_open,omitempty"`

	Privileged   bool              `json:"privileged,omitempty"`
	SecurityOpt  []string          `json:"security_opt,omitempty"`
	GroupAdd     []string          `json:"group_add,omitempty"`
	UsernsMode   string            `json:"userns_mode,omitempty"`
	PIDMode      string            `json:"pid,omitempty"`
	IPCMode      string            `json:"ipc,omitempty"`
	UTSMode      string            `json:"uts,omitempty"`
	Cgroup       string            `json:"cgroup,omitempty"` // namespace: host or private
	CgroupParent string            `json:"cgroup_parent,omitempty"`
	Runtime      string            `json:"runtime,omitempty"`
	Isolation    string            `json:"isolation,omitempty"`
	Init         *bool             `json:"init,omitempty"` // nil means as the engine is set up
	Umask        *uint32           `json:"umask,omitempty"`
	Sysctls      map[string]string `json:"sysctls,omitempty"`
	StorageOpt   map[string]string `json:"storage_opt,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	DNS          []string          `json:"dns,omitempty"`
	DNSSearch    []string          `json:"dns_search,omitempty"`
	DNSOptions   []string          `json:"dns_opt,omitempty"`

	CPUShares          int64           `json:"cpu_shares,omitempty"`
	CPUPeriod          int64           `json:"cpu_period,omitempty"` // µs
	CPUQuota           int64           `json:"cpu_quota,omitempty"`  // µs
	CPURealtimePeriod  int64           `json:"cpu_rt_period,omitempty"`
	CPURealtimeRuntime int64           `json:"cpu_rt_runtime,omitempty"`
	CPUSet             string          `json:"cpuset,omitempty"`
	CPUCount           int64           `json:"cpu_count,omitempty"`   // Windows
	CPUPercent         int64           `json:"cpu_percent,omitempty"` // Windows
	MemoryReservation  int64           `json:"mem_reservation,omitempty"`
	MemorySwap         int64           `json:"memswap_limit,omitempty"` // with the memory; -1 means no limit
	MemorySwappiness   *int64          `json:"mem_swappiness,omitempty"`
	OOMKillDisable     bool            `json:"oom_kill_disable,omitempty"`
	OOMScoreAdj        int             `json:"oom_score_adj,omitempty"`
	PIDsLimit          int64           `json:"pids_limit,omitempty"` // -1 means no limit
	ShmBytes           int64           `json:"shm_size,omitempty"`
	Ulimits            []Ulimit        `json:"ulimits,omitempty"`
	BlockIO            *BlockIO        `json:"blkio_config,omitempty"`
	DeviceCgroupRules  []string        `json:"device_cgroup_rules,omitempty"`
	DeviceRequests     []DeviceRequest `json:"device_requests,omitempty"`
}

// Ulimit is a limit of the container's processes, such as nofile.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// BlockIO weighs and limits what a container reads and writes.
type BlockIO struct {
	Weight        uint16       `json:"weight,omitempty"`
	WeightDevices []DeviceRate `json:"weight_device,omitempty"`
	ReadBps       []DeviceRate `json:"device_read_bps,omitempty"`
	ReadIOps      []DeviceRate `json:"device_read_iops,omitempty"`
	WriteBps      []DeviceRate `json:"device_write_bps,omitempty"`
	WriteIOps     []DeviceRate `json:"device_write_iops,omitempty"`
}

// DeviceRate is a weight, or bytes or operations a second, of a block device.
type DeviceRate struct {
	Path string `json:"path"`
	Rate uint64 `json:"rate"`
}

// DeviceRequest asks a driver of the engine for devices, such as GPUs.
type DeviceRequest struct {
	Driver       string            `json:"driver,omitempty"`
	Count        int               `json:"count,omitempty"` // -1 means all
	IDs          []string          `json:"device_ids,omitempty"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
}

// Network attaches a container to a network of its node, and says how that network
// is made if it is not there.
type Network struct {
	Name     string `json:"name,omitempty"` // of the engine; empty means the cluster's network
	External bool   `json:"external,omitempty"`

	// What follows is of the attachment.
	Aliases         []string          `json:"aliases,omitempty"`
	IPv4            string            `json:"ipv4_address,omitempty"`
	IPv6            string            `json:"ipv6_address,omitempty"`
	LinkLocal       []string          `json:"link_local_ips,omitempty"`
	MACAddress      string            `json:"mac_address,omitempty"`
	GatewayPriority int               `json:"gw_priority,omitempty"`
	EndpointOpts    map[string]string `json:"endpoint_opts,omitempty"`

	// What follows is of the network itself.
	Driver     string            `json:"driver,omitempty"` // bridge when empty
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
	Attachable bool              `json:"attachable,omitempty"`
	EnableIPv4 *bool             `json:"enable_ipv4,omitempty"`
	EnableIPv6 *bool             `json:"enable_ipv6,omitempty"`
	IPAM       *IPAM             `json:"ipam,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Plain is the network itself, without how anybody is attached to it.
func (n Network) Plain() Network {
	return Network{
		Name: n.Name, Driver: n.Driver, DriverOpts: n.DriverOpts, Internal: n.Internal, Attachable: n.Attachable,
		EnableIPv4: n.EnableIPv4, EnableIPv6: n.EnableIPv6, IPAM: n.IPAM, Labels: n.Labels,
	}
}

// IPAM says which addresses a network has.
type IPAM struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	Pools   []IPPool          `json:"config,omitempty"`
}

// IPPool is one range of addresses of a network.
type IPPool struct {
	Subnet  string            `json:"subnet,omitempty"`
	Range   string            `json:"ip_range,omitempty"`
	Gateway string            `json:"gateway,omitempty"`
	Aux     map[string]string `json:"aux_addresses,omitempty"`
}
