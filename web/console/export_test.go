package console

import "dunlin/ledger"

// Route is a page and the least role that may have it.
type Route struct {
	Pattern string
	Least   ledger.Role
}

// Routes are all of a console's.
func Routes(c *Console) (out []Route) {
	for _, r := range c.routes() {
		out = append(out, Route{r.pattern, r.least})
	}
	return out
}
