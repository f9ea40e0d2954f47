package mqtt

import "testing"

func TestInboxKeepsOrderAndItsLimit(t *testing.T) {
	b := newInbox()
	big := make([]byte, 1<<20)
	accepted := 0
	for b.put(delivery{topic: string(rune('a' + accepted)), payload: big}, maxInbox) {
		accepted++
	}
	if accepted != maxInbox>>20-1 {
		t.Errorf("%d messages of 1 MiB are accepted", accepted)
	}
	for i := range accepted {
		if d, ok := b.take(); !ok || d.topic != string(rune('a'+i)) {
			t.Fatalf("message %d is %q", i, d.topic)
		}
	}
	if _, ok := b.take(); ok || b.bytes != 0 {
		t.Errorf("%d bytes remain", b.bytes)
	}
	if !b.put(delivery{payload: big}, maxInbox) {
		t.Error("an empty inbox is full")
	}
}
