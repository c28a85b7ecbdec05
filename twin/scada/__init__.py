"""The SCADA core of the control room: point database, alarms, command path and front-end processor; no I/O."""
