import{ApplicationError as o,connect as r,GatewayError as e,TransportError as m}from"./core.js";export{o as ApplicationError,e as GatewayError,m as TransportError,r as connect};
