"""Applications of the control room: network and measurements in, results and plans out, nothing else touched."""
