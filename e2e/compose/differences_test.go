package compose

// differences are all that there are between what Compose asks an engine for and what Otto
// asks it for. docs/compose-differences.md is made of them.
func differences() []difference {
	return []difference{
		{
			what: "Labels that begin with `otto.`",
			why:  "By them an agent knows what is its cluster's.",
			at:   list("* * ... otto.*"), compose: "-",
		},
		{
			what: "The labels `com.docker.compose.config-hash`, `version`, `image`, `depends_on` and `project.*` are not there",
			why:  "With them Compose compares a container with a file of its own machine. `project`, `service`, `container-number`, `oneoff`, `network` and `volume`, by which other tools find their way, are as Compose sets them.",
			at:   list("* * Labels com.docker.compose.*"), otto: "-",
		},
		{
			what: "A service of `deploy.mode: global` has one container for each node, whose name and number are the node's",
			why:  "Compose knows one node, and takes it for any other service.",
			at:   list("containers shop-everywhere-* ..."),
		},
		{
			what: "A service that keeps data, or is to be started elsewhere when its node is lost, is not restarted by the engine",
			why:  "The agent does it, by the rules of `restart`: after a power cut the engine would start a copy of data that may have moved meanwhile.",
			at:   list("containers shop-keeps* HostConfig RestartPolicy *"),
		},
		{
			what: "`restart` is written out where nothing is said",
			why:  "It is `no`, as it is to the engine.",
			at:   list("containers * HostConfig RestartPolicy Name"), compose: "-", otto: `"no"`,
		},
		{
			what: "Logs are bounded where `logging` is not given: json-file, 3 files of 10 MB",
			why:  "Unbounded ones fill the disk of a small node.",
			at:   list("containers * HostConfig LogConfig ..."), compose: "-",
		},
		{
			what: "Secrets and configs of files are files of the node, not of the project",
			why:  "The container may run on another machine than the project is on. Content, mode and owner are as the file of the project says.",
			at:   list("containers * HostConfig Mounts /run/secrets/of_file ...", "containers * HostConfig Mounts /etc/abs ...", "containers * HostConfig Mounts /plain ..."), otto: "-",
		},
		{
			what: "`uid`, `gid` and `mode` hold for secrets and configs of files, too; 0444 where nothing is said",
			why:  "Compose binds the file of the project as it is.",
			at:   list("files * ..."), compose: "-",
		},
		{
			what: "A mount of a volume says as well how the volume is made: its labels, driver and options",
			why:  "Should it be gone by then, no engine makes a plain one of that name.",
			at:   list("containers * HostConfig Mounts * VolumeOptions ..."), compose: "-",
		},
		{
			what: "The volume has the labels that its mount asks for",
			why:  "Compose has made it without them by then.",
			at:   list("volumes * Labels x"), compose: "-",
		},
		{
			what: "The driver `local` of a volume is left out",
			why:  "It is the engine's own.",
			at:   list("volumes * Driver"), compose: `"local"`, otto: "-",
		},
		{
			what: "The drivers of a network and of its addresses are written out: `bridge`, `default`",
			why:  "They are the engine's own.",
			at:   list("networks * Driver", "networks * IPAM Driver"), compose: "-",
		},
		{
			what: "The addresses of a service are in one place only",
			why:  "The engine reads them there; Compose repeats them where it reports them.",
			at:   list("containers * NetworkingConfig EndpointsConfig * IP*"), otto: "-",
		},
		{
			what: "`links` gives the name that it asks for, and no others",
			why:  "Services find each other by the names of services and containers anyway. Compose also gives `db-1` and the container's name.",
			at:   list("containers * NetworkingConfig EndpointsConfig * Links", "containers * HostConfig Links"),
		},
		{
			what: "A command that is empty is left out",
			why:  "To the engine it is the same. An empty `entrypoint` takes that of the image away, as in Compose.",
			at:   list("containers * Cmd"), compose: "[]", otto: "-",
		},
		{
			what: "`stop_grace_period` is rounded up to seconds",
			why:  "Compose cuts off: of 500ms it makes none.",
			at:   list("containers shop-fraction-1 StopTimeout"),
		},
		{
			what: "A variable without a value that is nowhere set keeps the value that the image gives it",
			why:  "Compose takes it away from the container.",
			at:   list("containers * Env *"), compose: `"is not there"`, otto: "-",
		},
		{
			what: "`volumes_from: [db:ro]` is read-only",
			why:  "Compose forgets it.",
			at:   list("containers * HostConfig VolumesFrom"),
		},
		{
			what: "`umask` is passed",
			why:  "Compose does so from 5.7 on.",
			at:   list("containers * HostConfig Umask"), compose: "-",
		},
		{
			what: "`mem_swappiness: 0` is passed",
			why:  "Compose takes it for none.",
			at:   list("containers * HostConfig MemorySwappiness"), compose: "-", otto: "0",
		},
		{
			what: "`cpu_percent` is in per cent",
			why:  "Compose passes a hundred times as much; only engines of Windows read it.",
			at:   list("containers * HostConfig CpuPercent"),
		},
		{
			what: "`deploy.resources.reservations.memory` is what a node must have free, and no soft limit",
			why:  "Otto places services by it. `mem_reservation` is the soft limit.",
			at:   list("containers * HostConfig MemoryReservation"), otto: "-",
		},
		{
			what: "A capability of `gpus` is asked for once",
			why:  "Compose adds `gpu` also where it is.",
			at:   list("containers shop-some-gpus-1 HostConfig DeviceRequests"),
		},
		{
			what: "No container is attached to the terminal of whoever made it",
			why:  "Nobody is there. `otto logs` and `otto exec` are.",
			at:   list("containers * AttachStd*"), otto: "-",
		},
	}
}

func list(paths ...string) []string { return paths }
