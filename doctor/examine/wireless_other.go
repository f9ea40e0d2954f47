//go:build !linux

package examine

func powerSave(string) (on, known bool) { return false, false }
