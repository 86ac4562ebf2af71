package vault

import (
	"context"
)

// CopyPlan is what CopyFrom would do.
type CopyPlan struct {
	Copy   []Snapshot `json:"copy"`   // in the order in which they were taken
	There  int        `json:"there"`  // snapshots that have been copied before
	Failed []Damage   `json:"failed"` // snapshots that cannot be copied, as far as their documents and trees tell
	Bytes  int64      `json:"bytes"`  // to be read, as the other repository stores them
}

// PlanCopy finds out what CopyFrom of the same snapshots would do. It reads documents and trees, no data, and changes
// nothing, so that the vault may be open for reading only.
func (v *Vault) PlanCopy(ctx context.Context, from *Vault, list []Snapshot) (CopyPlan, error) {
	c := &transfer{v: v, from: from}
	docs, err := c.wanted(ctx, list)
	if err != nil {
		return CopyPlan{}, err
	}
	plan, need := CopyPlan{There: c.report.There, Failed: c.report.Failed}, from.newCensus()
	for _, d := range docs {
		lost := need.lost
		err := need.snapshot(ctx, d.Snapshot)
		switch {
		case ctx.Err() != nil:
			return CopyPlan{}, ctx.Err()
		case err == nil && need.lost > lost:
			err = ErrDamaged
		}
		if err != nil {
			plan.Failed = append(plan.Failed, Damage{"snapshots/" + d.ID, err})
			continue
		}
		plan.Copy = append(plan.Copy, d.Snapshot)
	}
	from.index.places(func(first uint32, at place) {
		if !need.needs(first) {
			return
		}
		if _, here := v.index.first(at.typ, at.id); !here {
			plan.Bytes += int64(at.length)
		}
	})
	return plan, nil
}
