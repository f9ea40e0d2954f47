// Package sim runs whole clusters through histories of faults, in virtual time,
// and checks after every step of every container that Otto keeps its promises.
//
// Control plane and agents are the real ones. What is around them is not: the
// engines, the broker, the store and the machines are those of package ottotest,
// where power fails, cables are pulled, disks fill up, engines hang, messages
// are late, doubled, forged or from last week, and a process can be killed
// between any two things that it does to the world.
//
// A history is a list of steps, one a line (see step). Scenarios are histories
// that people wrote or that once went wrong; testdata/scenarios has them, one a
// file. The others are drawn from a seed, thousands of them:
//
//	go test ./control/sim -sim.for 1h      as many as there is time for
//	go test ./control/sim -sim.seed 4711   one of them, again, with all it does
//	go test ./control/sim -sim.harsh 3     with three times as many faults at once
//
// A test that finds nothing proves little, so a run counts what its faults did,
// and fails if one of them had no effect. And testdata/mutants has bugs, put
// into the code on purpose, each of which must be found: make mutants.
package sim
