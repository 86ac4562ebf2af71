package web

// softwareView is what runs on the box, and what can be had from it, for whoever may change something.
type softwareView struct {
	Lines    []string
	Arriving *progressView
	Form     string // token of the form that takes an update; "": none is taken
	Texts    []Text
}

func (h *Handler) software() *softwareView {
	v := &softwareView{Texts: h.options.Texts}
	if h.options.Updates == nil {
		return v
	}
	s := h.options.Updates.Status()
	v.Lines = s.Lines()
	if a := s.Arriving; a != nil {
		v.Arriving = &progressView{Label: "Version " + plain(a.Version) + " is coming in", Known: a.Size > 0, Percent: percent(a.Done, a.Size)}
	}
	if s.Refuses == "" {
		v.Form = h.updateToken()
	}
	return v
}

// Lines say it to a person, each in a sentence.
func (s UpdateStatus) Lines() []string {
	line := "It runs version " + plain(s.Version)
	if s.Slot != "" {
		line += " from the card's slot " + plain(s.Slot)
	}
	lines := []string{line + "."}
	if s.Trial {
		lines = append(lines, "That is an update that is being tried: it is kept if it proves healthy.")
	}
	if s.Waiting != "" {
		lines = append(lines, "Version "+plain(s.Waiting)+" is installed when nothing else is to be done.")
	}
	if s.Refuses != "" {
		lines = append(lines, capital(plain(s.Refuses))+".")
	}
	return lines
}
