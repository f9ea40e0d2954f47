package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Labels of what Otto makes with networks.
const (
	labelNetwork  = "otto.network"  // of a network: what it was made from
	labelNetworks = "otto.networks" // of a container: how many networks it is attached to, if several
)

// attached are the networks of an instance, none if its spec names another mode.
func attached(inst otto.Instance) []otto.Network {
	switch {
	case inst.Spec.NetworkMode != "":
		return nil
	case len(inst.Spec.Networks) > 0:
		return inst.Spec.Networks
	}
	return []otto.Network{{}}
}

// networks attaches an instance to the cluster's network or to those of its spec, where
// its service's name and its own find it, unless its spec names another network mode.
// One that is updated start-first is found by its own name only while it has that name,
// which the engine makes known by itself: neither before it serves nor when it is leaving.
// The others of several networks are connected later: before API 1.44 a container is
// made with one.
func networks(cluster string, inst otto.Instance) (container.NetworkMode, *network.NetworkingConfig, error) {
	all := attached(inst)
	if len(all) == 0 {
		return container.NetworkMode(inst.Spec.NetworkMode), nil, nil
	}
	first := cmp.Or(all[0].Name, cluster)
	end, err := endpoint(inst, all[0])
	if inst.Spec.Engine != nil && err == nil && len(end.MacAddress) == 0 {
		end.MacAddress, err = hardwareAddress(inst.Spec.Engine.MACAddress)
	}
	return container.NetworkMode(first), &network.NetworkingConfig{
		EndpointsConfig: map[string]*network.EndpointSettings{first: end},
	}, err
}

// endpoint is how an instance is attached to one network.
func endpoint(inst otto.Instance, n otto.Network) (*network.EndpointSettings, error) {
	_, service, ok := strings.Cut(inst.Service, "/")
	if !ok {
		service = inst.Service
	}
	own := inst.ContainerName()
	aliases := []string{service}
	if own != service && !inst.StartFirst {
		aliases = append(aliases, own)
	}
	for _, a := range n.Aliases {
		if !slices.Contains(aliases, a) {
			aliases = append(aliases, a)
		}
	}
	if inst.Once {
		aliases = nil
	}
	if inst.StartFirst {
		aliases = slices.DeleteFunc(aliases, func(a string) bool { return a == own })
	}
	end := &network.EndpointSettings{
		Aliases:    aliases,
		Links:      inst.Spec.Links,
		DriverOpts: n.EndpointOpts,
		GwPriority: n.GatewayPriority,
	}
	var errs []error
	address := func(s string) netip.Addr {
		if s == "" {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(s)
		errs = append(errs, err)
		return a
	}
	if n.IPv4 != "" || n.IPv6 != "" || len(n.LinkLocal) > 0 {
		end.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: address(n.IPv4), IPv6Address: address(n.IPv6)}
		for _, l := range n.LinkLocal {
			end.IPAMConfig.LinkLocalIPs = append(end.IPAMConfig.LinkLocalIPs, address(l))
		}
	}
	mac, err := hardwareAddress(n.MACAddress)
	end.MacAddress = mac
	return end, errors.Join(append(errs, err)...)
}

func hardwareAddress(s string) (network.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(s)
	return network.HardwareAddr(mac), err
}

// ensureNetworks makes the networks of an instance that are not there. One goroutine
// at a time: engines of API 1.41 let two networks have one name.
func (r *Runtime) ensureNetworks(ctx context.Context, c *client.Client, inst otto.Instance) error {
	if err := r.networking.enter(ctx); err != nil {
		return err
	}
	defer r.networking.leave()
	own := attached(inst)
	for _, n := range own {
		n.Name = cmp.Or(n.Name, r.owner.Cluster)
		if err := r.ensureNetwork(ctx, c, n); err != nil {
			return err
		}
	}
	for _, n := range inst.Beside { // those that are there as they should not be concern others alone
		if slices.ContainsFunc(own, func(o otto.Network) bool { return o.Name == n.Name }) {
			continue
		}
		_, err := c.NetworkInspect(ctx, n.Name, client.NetworkInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			err = r.ensureNetwork(ctx, c, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) ensureNetwork(ctx context.Context, c *client.Client, n otto.Network) error {
	found, err := c.NetworkInspect(ctx, n.Name, client.NetworkInspectOptions{})
	there := err == nil && found.Network.Name == n.Name // the engine also looks among ids
	switch {
	case err != nil && !cerrdefs.IsNotFound(err):
		return err
	case there && (n.External || predefined(n.Name)):
		return nil
	case there && !r.ownsNetwork(n.Name, found.Network.ID, found.Network.Labels):
		whose, _ := r.whose(found.Network.Labels)
		advice := "give it another name in the file, or write external: true if it is meant"
		if n.Name == r.owner.Cluster {
			advice = "give the cluster another name"
		}
		return fmt.Errorf("a network named %s is there that is not this cluster's%s: %s", n.Name, whose, advice)
	case there && r.madeAs(found.Network.ID, found.Network.Labels) == definition(n):
		return nil
	case there:
		// It goes only if nothing uses it, which the engine itself sees to.
		if _, err := c.NetworkRemove(ctx, found.Network.ID, client.NetworkRemoveOptions{}); err != nil &&
			!cerrdefs.IsNotFound(err) {
			return fmt.Errorf(
				"network %s is in use as it was and cannot be made anew as the file has it now: give its services replicas: 0, apply, and put them back",
				n.Name,
			)
		}
	}
	options, err := r.networkOptions(n)
	if err != nil {
		return err
	}
	if _, err = c.NetworkCreate(ctx, n.Name, options); err != nil && strings.Contains(err.Error(), "non-overlapping") {
		return fmt.Errorf(
			"the engine has no addresses left for network %s: remove networks that nothing uses (docker network prune), "+
				"or give the engine more (default-address-pools in daemon.json)",
			n.Name,
		)
	}
	return err
}

// predefined reports whether every engine has a network.
func predefined(name string) bool { return name == "bridge" || name == "host" || name == "none" }

// definition is what a network is made from: empty for a plain one, such as the
// cluster's, which has never had the label.
func definition(n otto.Network) string {
	d := otto.Network{
		Driver: n.Driver, DriverOpts: n.DriverOpts, Internal: n.Internal, Attachable: n.Attachable,
		EnableIPv4: n.EnableIPv4, EnableIPv6: n.EnableIPv6, IPAM: n.IPAM, Labels: n.Labels,
	}
	b, err := json.Marshal(d)
	if err != nil || string(b) == "{}" {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// madeAs is the definition that a network was made from: of one of Compose's that of when
// it was taken over.
func (r *Runtime) madeAs(id string, labels map[string]string) string {
	if n, taken := r.takenNow().Network(id); taken {
		return definition(n.As)
	}
	return labels[labelNetwork]
}

func (r *Runtime) networkOptions(n otto.Network) (client.NetworkCreateOptions, error) {
	options := client.NetworkCreateOptions{
		Driver:     cmp.Or(n.Driver, "bridge"),
		EnableIPv4: n.EnableIPv4,
		EnableIPv6: n.EnableIPv6,
		Internal:   n.Internal,
		Attachable: n.Attachable,
		Options:    n.DriverOpts,
		Labels:     map[string]string{},
	}
	maps.Copy(options.Labels, n.Labels)
	maps.Copy(options.Labels, r.owner.Labels())
	if d := definition(n); d != "" {
		options.Labels[labelNetwork] = d
	}
	if n.IPAM == nil {
		return options, nil
	}
	options.IPAM = &network.IPAM{Driver: cmp.Or(n.IPAM.Driver, "default"), Options: n.IPAM.Options}
	for _, p := range n.IPAM.Pools {
		pool, err := addresses(p)
		if err != nil {
			return options, fmt.Errorf("ipam of network %s: %w", n.Name, err)
		}
		options.IPAM.Config = append(options.IPAM.Config, pool)
	}
	return options, nil
}

func addresses(p otto.IPPool) (out network.IPAMConfig, err error) {
	if p.Subnet != "" {
		if out.Subnet, err = netip.ParsePrefix(p.Subnet); err != nil {
			return out, err
		}
	}
	if p.Range != "" {
		if out.IPRange, err = netip.ParsePrefix(p.Range); err != nil {
			return out, err
		}
	}
	if p.Gateway != "" {
		if out.Gateway, err = netip.ParseAddr(p.Gateway); err != nil {
			return out, err
		}
	}
	for name, a := range p.Aux {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return out, err
		}
		if out.AuxAddress == nil {
			out.AuxAddress = map[string]netip.Addr{}
		}
		out.AuxAddress[name] = addr
	}
	return out, nil
}

// connectOthers attaches a container to all its networks but the first, with which it
// was made.
func (r *Runtime) connectOthers(ctx context.Context, c *client.Client, id string, inst otto.Instance) error {
	all := attached(inst)
	if len(all) < 2 {
		return nil
	}
	for _, n := range all[1:] {
		end, err := endpoint(inst, n)
		if err != nil {
			return err
		}
		name := cmp.Or(n.Name, r.owner.Cluster)
		if _, err := c.NetworkConnect(ctx, name,
			client.NetworkConnectOptions{Container: id, EndpointConfig: end}); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}

// RemoveNetwork removes the networks of the cluster, once nothing uses them any more.
// Those that are not this cluster's are left alone, and those of Compose's that its containers are
// in: a takeover was recorded, and has not begun or not ended.
func (r *Runtime) RemoveNetwork(ctx context.Context) error {
	return r.call(
		ctx,
		shortCall,
		"remove the networks of "+r.owner.Cluster,
		func(ctx context.Context, c *client.Client) error {
			list, err := c.NetworkList(ctx, client.NetworkListOptions{})
			if err != nil {
				return err
			}
			var errs []error
			for _, n := range list.Items {
				if !r.ownsNetwork(n.Name, n.ID, n.Labels) {
					continue
				}
				if _, taken := r.takenNow().Network(n.ID); taken && r.inUse(ctx, c, n.ID) {
					continue
				}
				if _, err := c.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{}); !cerrdefs.IsNotFound(err) {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		},
	)
}

// inUse reports whether any container is in a network, running or not, as far as is known.
func (r *Runtime) inUse(ctx context.Context, c *client.Client, network string) bool {
	in, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("network", network)})
	return err != nil || len(in.Items) > 0
}
