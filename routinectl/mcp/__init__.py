"""For agents: the Model Context Protocol over standard input and output. Extra `mcp`, imported when it is asked for."""
